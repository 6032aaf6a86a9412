"""manifest.json: what a dump directory says of itself.

The spool is the truth: everything that the catalogue knows of a dump stands here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from receiver.dump.worth import Verdict
from receiver.durable import write_file
from receiver.failure import Failure

NAME: Final = "manifest.json"
SCHEMA: Final = 1
RECEIVING: Final = "receiving"  # beside the verdicts of dump.verdict: the core is not stored yet
# Files of a dump that no client sends.
OURS: Final = frozenset({NAME, "report.json", "report.txt", "log.txt", "analysis.json"})
HISTORY: Final = 200  # entries of the audit trail that are kept


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a dump as it lies in the directory."""

    name: str
    kind: str  # receiver.dump.kind.Kind, by content
    core: bool  # whether it is (a part or an attempt of) the vmcore
    verdict: Verdict
    reason: str
    bytes: int  # logical size on disk
    sha256: str | None  # of the file; None until it is computed in the background
    wire_bytes: int
    wire_sha256: str
    requested: tuple[str, ...]  # the names the client gave it, in order
    tool: str  # dd, cat, scp, sftp, echo
    peer: str
    started: str  # UTC, ISO 8601
    finished: str
    seconds: float
    wrapper: str | None = None  # the compressor it was sent through
    broken: str | None = None  # why the upload ended early
    records: int | None = None  # of a flattened stream
    trailing: int = 0  # bytes after a flattened stream's end record
    inode: int | None = None  # tells files of one size apart when a crash came between rename and manifest


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit trail."""

    at: str
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that retention took away; what was known of it stays.

    It is written down before the file goes. `pending` is true until the file is gone for sure.
    """

    file: StoredFile
    at: str  # UTC, ISO 8601
    by: str
    why: str
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody wants this dump kept, whatever the rules say."""

    at: str  # UTC, ISO 8601
    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dump: `%HOST-%DATE` of one identity."""

    id: str
    host: str  # the identity's name
    how: str  # how it was known: key, certificate, token
    peer: str
    client: str  # family, receiver.wire.families
    directory: str  # below the spool's root
    requested: str  # the directory as the client named it
    date: str  # first contact, UTC, ISO 8601
    verdict: str = RECEIVING
    reason: str = "no vmcore so far"
    kernel_release: str | None = None
    build_id: str | None = None
    crash_time: str | None = None  # UTC, ISO 8601
    architecture: str | None = None
    nodename: str | None = None
    pages_total: int | None = None
    dump_level: int | None = None
    compression: str | None = None
    crash_class: str | None = None  # of receiver.triage: why it crashed; None until the log is read
    title: str | None = None
    function: str | None = None
    module: str | None = None
    signature: str | None = None  # the group of dumps that crashed alike
    rules_version: int | None = None
    hardware: str | None = None
    files: tuple[StoredFile, ...] = ()
    removed: tuple[Removed, ...] = ()  # what lay there once
    pinned: Pin | None = None
    history: tuple[Entry, ...] = ()
    schema: int = field(default=SCHEMA)

    def noted(self, at: str, what: str, detail: str = "") -> Manifest:
        """With one more line of audit trail; the oldest but the first go when there are too many."""
        history = (*self.history, Entry(at, what, detail[:500]))
        if len(history) > HISTORY:
            history = (history[0], *history[-HISTORY + 1 :])
        return dataclasses.replace(self, history=history)


class ManifestError(Failure):
    """A manifest.json that cannot be read; the dump's files are untouched."""

    exit_code = 65  # EX_DATAERR


_ADAPTER = TypeAdapter(Manifest)


def load(directory: Path) -> Manifest:
    """Read `directory`'s manifest.

    Raises:
        FileNotFoundError: there is none.
        ManifestError: it is not what we write.
    """
    path = directory / NAME
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ": ".join((str(path), *(".".join(map(str, first["loc"])),) * bool(first["loc"])))
        raise ManifestError(f"{where}: {first['msg']}; `kdump-receiver rebuild` makes it anew") from None


def store(root: Path, manifest: Manifest) -> None:
    """Write the manifest of ``root/manifest.directory``, durably."""
    write_file(root / manifest.directory / NAME, _ADAPTER.dump_json(manifest, indent=1) + b"\n")


def as_json(manifest: Manifest) -> bytes:
    """The manifest for programs: one line of JSON."""
    return _ADAPTER.dump_json(manifest)


def from_json(document: str | bytes) -> Manifest:
    """The manifest that `as_json` wrote."""
    return _ADAPTER.validate_json(document)
