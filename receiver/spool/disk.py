"""Positioned writes to one file, gathered into as few system calls as the gaps allow."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from receiver.dump.flattened import WriteAt

IOV_MAX: Final = 1024  # <limits.h>: buffers of one pwritev(2)
RUNS: Final = 8  # that grow side by side
SYNC_FILE_RANGE_WRITE: Final = 2  # <linux/fs.h>
_SYNC_FILE_RANGE: Final = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)


def write_all(fd: int, writes: Iterable[WriteAt]) -> list[tuple[int, int]]:
    """Do `writes`, the later winning; return what was written as (offset, bytes), runs joined.

    makedumpfile writes page descriptors and page data by turns, each right behind its own last
    write, so some runs grow side by side. None may overlap another: then their order is free.

    Raises OSError as pwritev(2) does, and what `writes` raises; what came before that is written.
    """
    done: list[tuple[int, int]] = []
    runs: dict[int, _Run] = {}  # by their end
    try:
        for offset, data in writes:
            end = offset + len(data)
            run = runs.pop(offset, None)
            if any(offset < other.end and other.start < end for other in runs.values()):
                if run is not None:
                    runs[offset] = run
                _write_runs(fd, runs, done)
                run = None
            if run is not None and len(run.pieces) == IOV_MAX:
                _write_runs(fd, {offset: run}, done)
                run = None
            if run is None:
                if len(runs) == RUNS:
                    _write_runs(fd, runs, done)
                run = _Run(offset, offset, [])
            run.pieces.append(data)
            run.end = end
            runs[end] = run
    finally:
        _write_runs(fd, runs, done)
    return done


@dataclass(slots=True)
class _Run:
    start: int
    end: int
    pieces: list[memoryview]


def _write_runs(fd: int, runs: dict[int, _Run], done: list[tuple[int, int]]) -> None:
    for end in list(runs):
        run = runs.pop(end)
        _write_run(fd, run.pieces, run.start)
        done.append((run.start, run.end - run.start))


def _write_run(fd: int, run: list[memoryview], offset: int) -> None:
    while run:
        written = os.pwritev(fd, run, offset)  # short when the disk fills; the next call says why
        offset += written
        while run and written >= len(run[0]):
            written -= len(run.pop(0))
        if run:
            run[0] = run[0][written:]


def start_writeback(fd: int) -> None:
    """Let the kernel write what is dirty now, without waiting: less is left for the fsync at the end."""
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(fd, ctypes.c_int64(0), ctypes.c_int64(0), SYNC_FILE_RANGE_WRITE)


class Room(Protocol):
    """Bytes that may be written; `more` gives at least so many more, or raises OSError."""

    left: int

    def more(self, lacking: int) -> None: ...


def fitting(fd: int, writes: Iterable[WriteAt], floor_bytes: int, room: Room) -> Iterator[WriteAt]:
    """`writes` as long as `room` allows and `floor_bytes` of the file system stay free; then OSError."""
    status = os.fstatvfs(fd)
    free = status.f_bavail * status.f_frsize - floor_bytes if status.f_blocks else sys.maxsize
    bound = left = min(free, room.left)
    try:
        for write in writes:
            left -= len(write.data)
            if left < 0:
                spent = bound - left
                if spent > free:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                room.more(spent - room.left)
                bound = min(free, room.left)
                left = bound - spent
            yield write
    finally:
        room.left -= bound - left


def reader(fd: int) -> Callable[[int, int], bytes]:
    """The file's bytes for the cores that read dumps."""
    return lambda offset, size: os.pread(fd, size, offset)
