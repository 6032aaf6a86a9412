"""The sha256 of stored files that were too large to hash before the client's answer."""

from __future__ import annotations

import os
from dataclasses import replace

from receiver.spool import manifest, store
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest


def with_digest(spool: Spool, directory: str, name: str) -> Manifest:
    """Hash one file and write it down; the manifest as it is then."""
    path = spool.root / directory
    fd = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        inode = os.fstat(fd).st_ino
        digest = store.digest(fd)
    finally:
        os.close(fd)
    with spool.changing(directory):
        dump = manifest.load(path)
        # It may have been moved aside meanwhile: the file is known by its inode, not by its name.
        files = tuple(
            replace(file, sha256=digest) if (path / file.name).stat().st_ino == inode else file
            for file in dump.files
        )
        dump = replace(dump, files=files)
        manifest.store(spool.root, dump)
    return dump
