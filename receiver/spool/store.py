"""From a file that has arrived to a stored one: judged, named, durable, written in the manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from receiver.dump.facts import Facts
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.stream import DUMPS
from receiver.dump.verdict import Judgement, judge_untrusted
from receiver.dump.worth import Verdict
from receiver.spool import attempts, incoming, manifest, parts
from receiver.spool.disk import reader
from receiver.spool.dumps import Spool, with_facts
from receiver.spool.manifest import Manifest, ManifestError, StoredFile
from receiver.wire.families import Observation, narrowed

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
    heard: tuple[Observation, ...] = ()  # what tells which kdump sent it


def commit(spool: Spool, begun: Manifest, arrived: Arrived) -> tuple[Manifest, StoredFile]:
    """Give the file its name and write it down, durably; the dump and the file as they are then.

    `begun` is the dump as it was; it stands in for a manifest that was lost meanwhile.

    Raises OSError when it cannot be done; the file has its growing name again.
    """
    judgement = judge(arrived)
    file = describe(arrived, judgement)
    with spool.changing(begun.directory) as path:
        try:
            dump = manifest.load(path)
        except (FileNotFoundError, ManifestError):
            dump = begun
        files = attempts.arranged(dump.files, file, strangers(path, dump))
        stored = files[-1]
        moves = [*moves_between(dump.files, files), (arrived.path.name, stored.name)]
        dump = replace(dump, files=tuple(files), client=narrowed(dump.client, arrived.heard))
        dump = summed_up(dump, stored, judgement.facts)
        dump = dump.noted(arrived.finished, "stored", f"{stored.name}: {stored.verdict}, {stored.reason}")
        with moved(path, moves):
            dump = parts.together(path, dump)
            spool.write(dump)  # syncs the directory, so the names, too
        incoming.discard(arrived.path)
    return dump, stored


def strangers(directory: Path, dump: Manifest) -> set[str]:
    """The names in a dump's directory that its manifest does not know."""
    return set(os.listdir(directory)) - {file.name for file in dump.files}


def moves_between(before: Sequence[StoredFile], after: Sequence[StoredFile]) -> list[tuple[str, str]]:
    """Old and new name of each file that gets another one; the two sequences run in step."""
    pairs = zip(before, after, strict=False)
    return [(old.name, new.name) for old, new in pairs if old.name != new.name]


@contextmanager
def moved(directory: Path, moves: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Rename files while the manifest is written; back again when that fails."""
    done: list[tuple[str, str]] = []
    try:
        for old, new in moves:
            (directory / old).rename(directory / new)
            done.append((old, new))
        yield
    except OSError:
        for old, new in reversed(done):
            with suppress(OSError):
                (directory / new).rename(directory / old)
        raise


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
    sha256 = (arrived.wire_sha256 or None) if as_sent else None
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
        inode=os.fstat(arrived.fd).st_ino,
    )


def summed_up(dump: Manifest, newest: StoredFile | None, facts: Facts) -> Manifest:
    """The dump's own verdict, which is that of its best core; `facts` are those of `newest`."""
    core = attempts.best([file for file in dump.files if file.core])
    if core is None and any(gone.file.core for gone in dump.removed):
        return dump  # what the removed core was worth stays said
    if core is None:
        return replace(dump, verdict=Verdict.UNKNOWN, reason="no vmcore has arrived")
    if newest is not None and newest.core:
        dump = with_facts(dump, facts, best=newest is core)
    return replace(dump, verdict=core.verdict, reason=core.reason)


class Stopped(Exception):
    """The server ends; what was being computed is computed by the next one."""


def digest(fd: int, stop: Callable[[], bool] = lambda: False) -> str:
    """sha256 of the whole file behind `fd`.

    Raises:
        Stopped: `stop` says so.
    """
    sha256 = hashlib.sha256()
    offset = 0
    while block := os.pread(fd, BLOCK, offset):
        if stop():
            raise Stopped
        sha256.update(block)
        offset += len(block)
    return sha256.hexdigest()
