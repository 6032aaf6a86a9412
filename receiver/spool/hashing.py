"""The sha256 of stored files that were too large to hash before the client's answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from receiver.spool import manifest, store
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest


def with_digest(
    spool: Spool, directory: str, name: str, stop: Callable[[], bool] = lambda: False
) -> Manifest:
    """Hash one file and write it down; the manifest as it is then.

    Raises:
        Stopped: `stop` says so.
    """
    path = spool.root / directory
    dump = manifest.load(path)
    if any(file.name == name and file.sha256 is not None for file in dump.files):
        return dump
    fd = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        digest = store.digest(fd, stop)
    finally:
        os.close(fd)
    with spool.changing(directory):
        dump = manifest.load(path)
        # It may have been moved aside meanwhile: the file is known by its inode, not by its name.
        files = tuple(
            replace(file, sha256=digest) if _is(path / file.name, status) else file for file in dump.files
        )
        dump = replace(dump, files=files)
        spool.write(dump)
    return dump


def _is(path: Path, status: os.stat_result) -> bool:
    with suppress(FileNotFoundError):  # an operator took it away
        return os.path.samestat(path.stat(), status)
    return False
