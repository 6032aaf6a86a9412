"""What a dump's new manifest tells that its old one did not, as events.

They are written into the journal in the transaction that replaces the row: a process that is
killed before loses neither, and the next one that lists the dump tells of it, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from receiver.events import Event, GroupAppeared, Reported, UploadFinished
from receiver.spool.manifest import Manifest, StoredFile


def news(before: Manifest | None, dump: Manifest) -> Iterator[Event]:
    """Each file that was stored, and the report when it says something else."""
    known = Counter(map(_identity, before.files if before else ()))
    for file in dump.files:
        identity = _identity(file)
        known[identity] -= 1
        if known[identity] < 0:
            yield finished(dump, file)
    said = (before.crash_class, before.title, before.signature) if before else None
    if dump.crash_class is not None and said != (dump.crash_class, dump.title, dump.signature):
        yield reported(dump)


def group_of(dump: Manifest) -> GroupAppeared:
    """The event of the first dump of its group."""
    return GroupAppeared(
        dump.host, dump.id, dump.signature or "", dump.crash_class or "none", dump.title or "", dump.verdict
    )


def reported(dump: Manifest) -> Reported:
    """What its log says."""
    return Reported(
        host=dump.host,
        dump=dump.id,
        crash_class=dump.crash_class or "none",
        title=dump.title or "",
        signature=dump.signature or "",
        verdict=dump.verdict,
    )


def finished(dump: Manifest, file: StoredFile) -> UploadFinished:
    """One of its files is stored."""
    return UploadFinished(
        host=dump.host,
        peer=file.peer,
        dump=dump.id,
        directory=dump.directory,
        file=file.name,
        bytes=file.bytes,
        wire_bytes=file.wire_bytes,
        seconds=file.seconds,
        kind=file.kind,
        verdict=file.verdict,
        reason=file.reason,
        core=file.core,
    )


def _identity(file: StoredFile) -> tuple[object, ...]:
    """A file gets other names, a hash, on a restored disk another inode; these stay."""
    return file.started, file.finished, file.tool, file.bytes, file.wire_bytes
