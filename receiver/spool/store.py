"""From a file that has arrived to a stored one: judged, named, durable, written in the manifest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from receiver.dump.facts import Facts
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.stream import DUMPS
from receiver.dump.verdict import Judgement, Verdict, judge_untrusted
from receiver.spool import attempts, incoming, manifest
from receiver.spool.disk import reader
from receiver.spool.dumps import Spool, with_facts
from receiver.spool.manifest import Manifest, StoredFile

HASH_AT_ONCE: Final = 32 << 20  # bytes of a rearranged file that are hashed before the client is answered
BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole file, or what came of one, under its growing name and synced."""

    path: Path
    fd: int
    kind: Kind
    wrapper: Kind | None
    ended: bool | None
    size: int
    wire_bytes: int
    wire_sha256: str
    requested: tuple[str, ...]
    tool: str
    peer: str
    started: str
    finished: str
    seconds: float
    broken: str | None
    malformed: bool  # the stream broke its own format; otherwise `broken` cut it short
    records: int | None
    trailing: int


def commit(spool: Spool, directory: str, arrived: Arrived) -> tuple[Manifest, StoredFile]:
    """Give the file its name and write it down, durably; the dump and the file as they are then."""
    judgement = judge(arrived)
    file = describe(arrived, judgement)
    with spool.changing(directory) as path:
        dump = manifest.load(path)
        files = attempts.arranged(dump.files, file)
        for before, after in zip(dump.files, files, strict=False):
            if before.name != after.name:
                os.link(
                    path / before.name, path / after.name
                )  # a second name first: nothing is ever without one
        stored = files[-1]
        arrived.path.rename(path / stored.name)
        dump = summed_up(replace(dump, files=tuple(files)), judgement.facts if stored.core else None)
        dump = dump.noted(arrived.finished, "stored", f"{stored.name}: {stored.verdict}, {stored.reason}")
        manifest.store(spool.root, dump)  # syncs the directory, so the rename above, too
        incoming.discard(arrived.path)
    return dump, stored


def judge(arrived: Arrived) -> Judgement:
    """What the bytes on disk are worth."""
    read = reader(arrived.fd)
    kind = sniff_untrusted(read(0, 4096))
    judgement = judge_untrusted(
        read, arrived.size, kind, ended=arrived.ended, stream_bytes=arrived.wire_bytes
    )
    if not arrived.broken:
        return judgement
    if arrived.malformed:
        return replace(judgement, verdict=Verdict.DAMAGED, reason=arrived.broken)
    if arrived.kind in DUMPS:  # their bytes say more than the way they came
        why = f"{judgement.reason}; {arrived.broken}"
        return replace(judgement, reason=why)
    return replace(judgement, verdict=Verdict.TRUNCATED, reason=arrived.broken)


def describe(arrived: Arrived, judgement: Judgement) -> StoredFile:
    """The file's entry for the manifest, not yet named."""
    as_sent = arrived.wrapper is None and arrived.records is None
    sha256 = arrived.wire_sha256 if as_sent else None
    if sha256 is None and arrived.size <= HASH_AT_ONCE:
        sha256 = digest(arrived.fd)
    return StoredFile(
        name="",
        kind=arrived.kind,
        core=attempts.is_core(arrived.requested[-1], arrived.kind),
        verdict=judgement.verdict,
        reason=judgement.reason,
        bytes=arrived.size,
        sha256=sha256,
        wire_bytes=arrived.wire_bytes,
        wire_sha256=arrived.wire_sha256,
        requested=arrived.requested,
        tool=arrived.tool,
        peer=arrived.peer,
        started=arrived.started,
        finished=arrived.finished,
        seconds=arrived.seconds,
        wrapper=arrived.wrapper,
        broken=arrived.broken,
        records=arrived.records,
        trailing=arrived.trailing,
    )


def summed_up(dump: Manifest, facts: Facts | None) -> Manifest:
    """The dump's own verdict: that of its best core."""
    core = attempts.best([file for file in dump.files if file.core])
    if core is None:
        return replace(dump, verdict=Verdict.UNKNOWN, reason="no vmcore has arrived")
    if facts is not None:
        dump = with_facts(dump, facts)
    return replace(dump, verdict=core.verdict, reason=core.reason)


def digest(fd: int) -> str:
    """sha256 of the whole file behind `fd`."""
    sha256 = hashlib.sha256()
    offset = 0
    while block := os.pread(fd, BLOCK, offset):
        sha256.update(block)
        offset += len(block)
    return sha256.hexdigest()
