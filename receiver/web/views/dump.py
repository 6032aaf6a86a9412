"""One dump: what it is, why it crashed, what lies in its directory, what happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from receiver.catalogue.brief import Brief
from receiver.spool.manifest import Entry, Manifest, StoredFile
from receiver.triage.report import SHORT, Report
from receiver.web.views import words
from receiver.web.views.uploads import Upload
from receiver.web.views.words import Moment

READING_SECONDS: Final = 60.0  # that a report may take; a dump without any log never has one
VERDICTS: Final = ("complete", "receiving", "truncated", "damaged", "unknown")
# What the CLI's `list` says, with what it means for the one who reads it.
MEANING: Final = {
    "complete": "The vmcore is whole.",
    "receiving": "The vmcore is on its way, or never came.",
    "truncated": "The upload ended early; what came is kept.",
    "damaged": "The bytes contradict themselves.",
    "unknown": "These bytes do not say whether they are whole.",
}


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file to download."""

    name: str
    kind: str
    bytes: int
    sha256: str | None
    verdict: str
    reason: str
    sent_as: str
    tool: str
    seconds: float
    pace: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit trail."""

    at: Moment
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class DumpPage:
    """All of it. `facts` are the rows of the first table, label and value."""

    id: str
    title: str
    host: str
    verdict: str
    reason: str
    meaning: str
    received: Moment
    crashed: Moment | None
    signature: str
    short: str
    facts: tuple[tuple[str, str], ...]
    files: tuple[FileRow, ...]
    bytes: int
    history: tuple[Event, ...]
    directory: str
    path: str
    uploads: tuple[Upload, ...]
    where: str
    task: str
    taint: str
    is_changing: bool  # it is being received, or its log is being read
    pinned: Event | None  # who wants it kept, and why
    removed: tuple[Event, ...]  # files that retention took


def dump_page(
    dump: Manifest, path: str, report: Report | None, uploads: Sequence[Upload], now: float
) -> DumpPage:
    """The view of a manifest and the report beside it."""
    verdict, pin = "receiving" if uploads else dump.verdict, dump.pinned
    return DumpPage(
        id=dump.id,
        title=dump.title or ("No crash in its log" if dump.crash_class == "none" else f"Dump of {dump.host}"),
        host=dump.host,
        verdict=verdict,
        reason="its upload is under way" if uploads and not _has_core(dump) else dump.reason,
        meaning=MEANING.get(verdict, ""),
        received=words.moment(dump.date, now),
        crashed=words.moment(dump.crash_time, now) if dump.crash_time else None,
        signature=dump.signature or "",
        short=(dump.signature or "")[:SHORT],
        facts=_facts(dump),
        files=tuple(map(_file, dump.files)),
        bytes=sum(file.bytes for file in dump.files),
        history=tuple(_event(entry, now) for entry in dump.history),
        directory=dump.directory,
        path=path,
        uploads=tuple(uploads),
        where=_where(dump, report),
        task=_task(report),
        taint=_taint(report),
        is_changing=bool(uploads) or _is_read(dump, now),
        pinned=Event(words.moment(pin.at, now), pin.by, pin.note) if pin else None,
        removed=tuple(
            Event(words.moment(gone.at, now), gone.file.name, f"{words.size(gone.file.bytes)}, {gone.why}")
            for gone in dump.removed
        ),
    )


def _is_read(dump: Manifest, now: float) -> bool:
    """Whether the log may still be on its way into the report: a moment after the last byte."""
    if dump.crash_class is not None or not dump.files:
        return False
    last = max(words.moment(file.finished, now).seconds for file in dump.files)
    return now - last < READING_SECONDS


def _has_core(dump: Manifest) -> bool:
    return any(file.core for file in dump.files)


def _facts(dump: Manifest) -> tuple[tuple[str, str], ...]:
    pages = f"{dump.pages_total:,} pages" if dump.pages_total is not None else ""
    level = f"dump level {dump.dump_level}" if dump.dump_level is not None else ""
    found = (
        ("Kernel", dump.kernel_release),
        ("Build ID", dump.build_id),
        ("Machine", " · ".join(filter(None, (dump.hardware, dump.architecture, dump.nodename)))),
        ("Memory image", " · ".join(filter(None, (pages, level, dump.compression)))),
        ("Client", dump.client),
        ("Sent as", dump.requested),
        ("From", f"{dump.peer}, known by its {dump.how}"),
    )
    return tuple((label, value) for label, value in found if value)


def _where(dump: Manifest, report: Report | None) -> str:
    function = report.function if report else dump.function
    module = report.module if report else dump.module
    return f"{function or 'unknown'}{f' in module {module}' if module else ''}" if function or module else ""


def _task(report: Report | None) -> str:
    if report is None or (report.comm is None and report.pid is None):
        return ""
    who = f"{report.comm or '?'}[{'?' if report.pid is None else report.pid}]"
    return who if report.cpu is None else f"{who} on CPU {report.cpu}"


def _taint(report: Report | None) -> str:
    return "" if report is None or report.taint is None else report.taint or "not tainted"


def _file(file: StoredFile) -> FileRow:
    return FileRow(
        name=file.name,
        kind=file.kind if file.wrapper is None else f"{file.kind}, sent through {file.wrapper}",
        bytes=file.bytes,
        sha256=file.sha256,
        verdict=str(file.verdict),
        reason=file.reason,
        sent_as=" → ".join(file.requested),
        tool=file.tool,
        seconds=file.seconds,
        pace=words.rate(file.wire_bytes / file.seconds) if file.seconds > 0.05 else "",
    )


def _event(entry: Entry, now: float) -> Event:
    return Event(words.moment(entry.at, now), entry.what, entry.detail)


@dataclass(frozen=True, slots=True)
class DumpRow:
    """One dump in a list."""

    id: str
    host: str
    date: Moment
    verdict: str
    reason: str
    title: str
    kernel: str
    bytes: int
    signature: str


def dump_rows(dumps: Iterable[Brief], now: float) -> tuple[DumpRow, ...]:
    """Rows, in the order they come."""
    return tuple(
        DumpRow(
            id=dump.id,
            host=dump.host,
            date=words.moment(dump.date, now),
            verdict=dump.verdict,
            reason=dump.reason or "",
            title=dump.title or _untitled(dump),
            kernel=dump.kernel_release or "",
            bytes=dump.bytes,
            signature=dump.signature or "",
        )
        for dump in dumps
    )


def _untitled(dump: Brief) -> str:
    if dump.crash_class == "none":
        return "no crash in its log"
    return "no vmcore so far" if dump.verdict == "receiving" else "no log was found"
