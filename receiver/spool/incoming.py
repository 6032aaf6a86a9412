"""An upload under way, as other processes see it: a file that grows, a note beside it, a lock held.

The kernel drops the lock with the process, so a file whose lock is free was left by a
process that died; its note says what it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from receiver.durable import locked, write_file

PREFIX: Final = ".incoming-"
NOTE: Final = ".json"


@dataclass(frozen=True, slots=True)
class Incoming:
    """The note: who sends what, and how far it is."""

    id: str
    dump: str  # id of the dump
    directory: str
    requested: tuple[str, ...]
    tool: str
    host: str
    peer: str
    started: str
    kind: str = "empty"
    wrapper: str | None = None
    wire_bytes: int = 0
    bytes: int = 0
    done_pages: int | None = None
    total_pages: int | None = None
    fraction: float | None = None
    exact: bool = False
    kernel_release: str | None = None
    build_id: str | None = None
    crash_time: str | None = None  # UTC, ISO 8601
    inode: int | None = None  # of the growing file, which it keeps when it is stored
    seconds: float = 0.0  # since the first byte
    eta_seconds: float | None = None  # until the last one, at the pace so far


_ADAPTER = TypeAdapter(Incoming)


def note(path: Path, incoming: Incoming) -> None:
    """Write the note of the growing file `path`; it need not survive a power cut."""
    write_file(path.with_name(path.name + NOTE), _ADAPTER.dump_json(incoming), sync=False)


def read(path: Path) -> Incoming | None:
    """The note of the growing file `path`, if there is a whole one."""
    try:
        return _ADAPTER.validate_json(path.with_name(path.name + NOTE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def growing(directory: Path) -> Iterator[Path]:
    """The files of `directory` that uploads write, or wrote when they were killed."""
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(directory.iterdir()):
            if path.name.startswith(PREFIX) and not path.name.endswith(NOTE):
                yield path


def hold(fd: int) -> bool:
    """Take the lock of a growing file; False when a living process has it.

    Call it while the directory is held: else one that only asks is taken for one that writes.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_live(path: Path) -> bool:
    """Whether a process still writes `path`."""
    try:
        with locked(path.parent), opened(path) as fd:  # or we would be taken for the one that writes
            return not hold(fd)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """The growing file, open for reading and writing."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def discard(path: Path) -> None:
    """Remove the note (and the file, when it still has its growing name)."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + NOTE).unlink(missing_ok=True)
