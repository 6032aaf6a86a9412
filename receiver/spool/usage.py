"""What a dump takes on the disk, as a row of the ledger."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from receiver.dump.worth import Verdict
from receiver.spool import incoming, manifest
from receiver.spool.ledger import Ledger
from receiver.spool.manifest import Manifest, ManifestError, StoredFile
from receiver.spool.retention import Dump

LOG_MAX: Final = 64 << 20  # bytes; what is larger is no log, whatever it calls itself, and goes with the core


def is_bulk(file: StoredFile) -> bool:
    """Whether a file goes when the core goes."""
    return file.core or file.bytes > LOG_MAX


def row(directory: Path, dump: Manifest) -> Dump:
    """The dump in `directory` as its manifest says, with the bytes that the disk gave.

    What is still growing is not counted: it has its reservation. Raises OSError.
    """
    bulk = {file.name for file in dump.files if is_bulk(file)}
    core_bytes = rest_bytes = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(incoming.PREFIX):
                continue
            with suppress(FileNotFoundError):
                size = entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.name in bulk:
                    core_bytes += size
                else:
                    rest_bytes += size
    return Dump(
        id=dump.id,
        directory=directory.name,
        host=dump.host,
        group=dump.signature,
        seconds=dt.datetime.fromisoformat(dump.date).timestamp(),
        complete=bool(bulk) and dump.verdict == Verdict.COMPLETE,
        cores=len(bulk),
        core_bytes=core_bytes,
        rest_bytes=rest_bytes,
        pinned=dump.pinned is not None,
    )


def rows(directories: Iterable[Path]) -> Iterator[Dump]:
    """Every dump, from the directories alone; one without a readable manifest counts once it is mended."""
    for directory in directories:
        with suppress(OSError, ManifestError, ValueError):
            yield row(directory, manifest.load(directory))


def known(ledger: Ledger) -> list[Dump]:
    """Every dump of the ledger; those that an upload writes into are marked as receiving."""
    with ledger.changing() as transaction:
        dumps, uploads = transaction.dumps(), transaction.uploads()
    return marked(dumps, {upload.directory for upload in uploads})


def marked(dumps: Iterable[Dump], receiving: set[str | None]) -> list[Dump]:
    """`dumps`, those in `receiving` marked as such."""
    return [replace(dump, receiving=True) if dump.directory in receiving else dump for dump in dumps]


def enter(ledger: Ledger, root: Path, dump: Manifest) -> None:
    """Bring the ledger up to a manifest of a dump below `root`; call it while the dump is held."""
    with ledger.changing() as transaction:
        transaction.enter(row(root / dump.directory, dump))
