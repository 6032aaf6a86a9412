"""Files that survive a crash of this machine: written aside, synced, renamed, the directory synced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the entries of `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replace `path` by `content`, whole or not at all, mode 0600.

    With `sync`, it is on the disk when this returns.
    """
    aside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            give_to_owner_of(path.parent, fd)
            if sync:
                file.flush()
                os.fsync(fd)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def make_directory(directory: Path) -> None:
    """`directory` and its parents, 0700 where they are made."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            give_to_owner_of(directory.parent, fd)
        finally:
            os.close(fd)


def give_to_owner_of(parent: Path, fd: int) -> None:
    """What root makes in a directory of the receiver's own user is that user's.

    Or `sudo kdump-receiver host add` would enrol keys that the server may not read.
    """
    if os.geteuid() == 0:
        owner = parent.stat()
        if owner.st_uid != 0:
            os.fchown(fd, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory` against other processes and threads of ours."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
