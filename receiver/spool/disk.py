"""Positioned writes to one file, gathered into as few system calls as the gaps allow."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from receiver.dump.flattened import WriteAt

IOV_MAX: Final = 1024  # <limits.h>: buffers of one pwritev(2)
SYNC_FILE_RANGE_WRITE: Final = 2  # <linux/fs.h>
_SYNC_FILE_RANGE: Final = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)


def write_all(fd: int, writes: Iterable[WriteAt]) -> list[tuple[int, int]]:
    """Do `writes` in their order; return what was written as (offset, bytes), runs joined.

    Raises OSError as pwritev(2) does, and what `writes` raises; what came before it is written.
    """
    done: list[tuple[int, int]] = []
    run: list[memoryview] = []
    start = end = 0
    try:
        for offset, data in writes:
            if run and (offset != end or len(run) == IOV_MAX):
                full, run = run, []
                _write_run(fd, full, start)
                done.append((start, end - start))
            if not run:
                start = end = offset
            run.append(data)
            end += len(data)
    finally:
        if run:
            _write_run(fd, run, start)
            done.append((start, end - start))
    return done


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


def fitting(fd: int, writes: Iterable[WriteAt], floor_bytes: int) -> Iterator[WriteAt]:
    """`writes` as long as they leave `floor_bytes` of the file system free; then ENOSPC as OSError."""
    status = os.fstatvfs(fd)
    room = status.f_bavail * status.f_frsize - floor_bytes if status.f_blocks else sys.maxsize
    for write in writes:
        room -= len(write.data)
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield write


def reader(fd: int) -> Callable[[int, int], bytes]:
    """The file's bytes for the cores that read dumps."""
    return lambda offset, size: os.pread(fd, size, offset)
