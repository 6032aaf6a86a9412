"""To take a core, or what outlived it, away: written down first, and whole at any kill.

A core goes in three steps: the manifest says that it is gone (`pending`), the file is
unlinked, the manifest says that it is done. A start that finds a pending one ends it. A whole
dump goes by a rename to a name that no reader looks at; what lies there is swept.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from receiver.durable import locked, sync_directory
from receiver.spool import incoming, manifest, usage
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest, ManifestError, Removed
from receiver.spool.retention import Choice
from receiver.spool.usage import is_bulk
from receiver.wire.paths import parse_untrusted
from receiver.wire.refused import Refused

GONE: Final = ".removed-"  # in the root: a dump that is being removed
REMOVED_MAX: Final = 64  # removed files that a manifest remembers


@dataclass(frozen=True, slots=True)
class Dropped:
    """What went, and the bytes that gave."""

    choice: Choice
    by: str
    bytes: int


def carry_out(spool: Spool, choice: Choice, at: str, by: str) -> Dropped | None:
    """Do what was chosen; None where the dump has become such that it may not go, or is gone.

    `at` is UTC, ISO 8601; `by` says who: the server, or a person.

    Raises:
        OSError, ManifestError: it could not be done; the dump is whole, or the next start ends it.
    """
    directory = choice.dump.directory
    with suppress(FileNotFoundError), spool.changing(directory) as path:
        dump = manifest.load(path)
        if dump.pinned or dump.id != choice.dump.id or is_receiving(path):
            return None
        match choice.act:
            case "drop core":
                freed = _drop_core(spool, path, dump, at, by, choice.reason)
            case "drop dump":
                freed = _drop_dump(spool, path, dump)
            case _:
                return None
        return None if freed is None else Dropped(choice, by, freed)
    return None


def is_receiving(directory: Path) -> bool:
    """Whether a living process writes into `directory`; call it while that is held."""
    for path in incoming.growing(directory):
        with suppress(FileNotFoundError), incoming.opened(path) as fd:
            if not incoming.hold(fd):
                return True
    return False


def _drop_core(spool: Spool, path: Path, dump: Manifest, at: str, by: str, why: str) -> int | None:
    going = [file for file in dump.files if is_bulk(file)]
    if not going:
        return None
    freed = sum(_blocks(path / file.name) for file in going)
    removed = [*dump.removed, *(Removed(file, at, by, why, pending=True) for file in going)]
    names = ", ".join(file.name for file in going)
    dump = replace(
        dump,
        files=tuple(file for file in dump.files if file not in going),
        removed=tuple(removed[-max(REMOVED_MAX, len(going)) :]),
    )
    spool.write(dump.noted(at, "core removed", f"by {by}: {why} ({names})"))
    finish(spool, path)
    return freed


def finish(spool: Spool, path: Path) -> Manifest:
    """End the removals that the manifest speaks of; call it while the dump is held.

    A file of that name with another inode is another file: it stays.
    """
    dump = manifest.load(path)
    pending = [gone for gone in dump.removed if gone.pending]
    if not pending:
        return dump
    for gone in pending:
        with suppress(FileNotFoundError):
            file = path / gone.file.name
            status = file.lstat()
            if (status.st_ino, status.st_size) == (gone.file.inode, gone.file.bytes):
                file.unlink()
    sync_directory(path)
    dump = replace(dump, removed=tuple(replace(gone, pending=False) for gone in dump.removed))
    spool.write(dump)
    usage.enter(spool.ledger, spool.root, dump)
    return dump


def _drop_dump(spool: Spool, path: Path, dump: Manifest) -> int | None:
    if any(is_bulk(file) for file in dump.files):
        return None
    freed = sum(_blocks(file) for file in path.iterdir())
    spool.falls_behind(path.name)  # until the catalogue has forgotten it
    gone = spool.root / f"{GONE}{secrets.token_hex(4)}"
    path.rename(gone)
    sync_directory(spool.root)
    _clear(spool, gone, path.name)
    with spool.ledger.changing() as transaction:
        transaction.forget(path.name)
    return freed


def sweep(spool: Spool) -> None:
    """End the removal of whole dumps that a kill cut short."""
    for gone in spool.root.glob(f"{GONE}*"):
        name = None
        with suppress(OSError, ManifestError):
            name = manifest.load(gone).directory
        with suppress(FileNotFoundError), locked(gone):  # another process may be at it
            _clear(spool, gone, name)


def _clear(spool: Spool, gone: Path, name: str | None) -> None:
    """Unbind the path that led there, then remove what lies there, the manifest last."""
    with suppress(OSError, ManifestError, Refused):
        dump = manifest.load(gone)
        names = spool.names(dump.host)
        with locked(names.directory):
            names.unbind(parse_untrusted(dump.requested), name or dump.directory)
    for path in sorted(gone.iterdir(), key=lambda path: path.name == manifest.NAME):
        if path.is_dir() and not path.is_symlink():  # an operator's
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        gone.rmdir()


def _blocks(path: Path) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0
