"""From a stored dump to its answer: the log, and report.json and report.txt beside the vmcore.

The log is read from the core itself, without debuginfo; what the client sent as
vmcore-dmesg.txt counts, too. The one that holds the crash is reported.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from receiver.analysis import debuginfo
from receiver.analysis.runner import Bounds
from receiver.analysis.runner import analyse as run_drgn
from receiver.dump import inplace
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.malformed import Malformed
from receiver.dump.printk import log_of_parts_untrusted, log_untrusted
from receiver.durable import write_file
from receiver.settings import Settings
from receiver.spool import attempts, incoming, manifest
from receiver.spool.disk import reader
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest, StoredFile
from receiver.triage import report as reports
from receiver.triage.answer import triage_untrusted
from receiver.triage.log import MAX_BYTES
from receiver.triage.overrides import NONE, Overrides
from receiver.triage.report import Report

REPORT_JSON: Final = "report.json"
REPORT_TXT: Final = "report.txt"
LOG: Final = "log.txt"
ANALYSIS: Final = "analysis.json"
TEXT_MAX: Final = 2 * MAX_BYTES  # of a text file, its end: a crash is the last that a kernel logs

# The crashed kernel's log as clients name it; kexec-dmesg.log is the capture kernel's own.
_CLIENTS_LOG = re.compile(r"(?!kexec)\S*dmesg\S*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """A kernel log, where it was found, and why it is not whole."""

    data: bytes
    source: str  # a file's name, and "from memory" when it was read out of a dump
    why: str = ""


def may_hold_log(file: StoredFile) -> bool:
    """Whether the crashed kernel's log may lie in this file."""
    return file.core or _CLIENTS_LOG.fullmatch(file.requested[-1]) is not None


def log_in(path: Path) -> Found:
    """The log that a file holds: a text, or a dump of any kind, whole, broken or still growing.

    Raises OSError. Where there is no log, `data` is empty and `why` says what was there instead.
    """
    with path.open("rb") as file:
        read = reader(file.fileno())
        kind = sniff_untrusted(read(0, 4096))
        if kind in {Kind.TEXT, Kind.EMPTY}:
            size = os.fstat(file.fileno()).st_size
            return Found(read(max(0, size - TEXT_MAX), TEXT_MAX), path.name)
        try:
            if kind is Kind.FLATTENED:
                read = inplace.open_untrusted(read).pread
                kind = sniff_untrusted(read(0, 4096))
        except Malformed as error:
            return Found(b"", path.name, str(error))
        log = log_untrusted(read, kind)
        return Found(log.data, f"{path.name} (from memory)", log.why)


def logs_of(directory: Path, dump: Manifest) -> list[Found]:
    """Every log of a dump, the core's own first; of one that is still arriving, too."""
    found = [_core_log(directory, dump), _kept_log(directory, dump)]
    for path in incoming.growing(directory):
        with suppress(OSError):
            found.append(log_in(path))
    for file in dump.files:
        if not file.core and may_hold_log(file):
            with suppress(OSError):
                found.append(log_in(directory / file.name))
    return [log for log in found if log is not None and log.data]


def _kept_log(directory: Path, dump: Manifest) -> Found | None:
    """The log that was read out of a core which is removed now."""
    if not any(gone.file.core for gone in dump.removed):
        return None
    try:
        return Found((directory / LOG).read_bytes(), LOG, "its core is removed")
    except FileNotFoundError:
        return None


def _core_log(directory: Path, dump: Manifest) -> Found | None:
    cores = [file for file in dump.files if file.core]
    best = attempts.best(cores)
    if best is None:
        return None
    parts = [file for file in cores if attempts.is_part(file)]
    if len(parts) > 1 and best in parts:
        return _log_of_parts(directory, parts)
    try:
        return log_in(directory / best.name)
    except OSError as error:
        return Found(b"", best.name, error.strerror or str(error))


def _log_of_parts(directory: Path, parts: Sequence[StoredFile]) -> Found:
    fds: list[int] = []
    try:
        fds.extend(os.open(directory / file.name, os.O_RDONLY | os.O_NOFOLLOW) for file in parts)
        log = log_of_parts_untrusted([reader(fd) for fd in fds])
    finally:
        for fd in fds:
            os.close(fd)
    return Found(log.data, f"{len(parts)} parts (from memory)", log.why)


def choose(logs: Sequence[Found], overrides: Overrides = NONE) -> tuple[Found | None, Report]:
    """The log that holds the crash, and what it says; of several the first, of none the longest."""
    answers = [(log, triage_untrusted(log.data, overrides)) for log in logs]
    crashed = [answer for answer in answers if answer[1].crash_class != "none"]
    if crashed:
        # A broken core may hold the crash's first line without the trace that tells where.
        return next((answer for answer in crashed if answer[1].complete), crashed[0])
    if answers:
        return max(answers, key=lambda answer: len(answer[0].data))
    return None, triage_untrusted(b"")


def write(spool: Spool, directory: str, at: str, overrides: Overrides = NONE) -> Manifest:
    """Report a dump: log.txt, report.json, report.txt, and the answer in its manifest, as it is then."""
    path = spool.root / directory
    log, report = choose(logs_of(path, manifest.load(path)), overrides)
    with spool.changing(directory):
        if log is not None:
            write_file(path / LOG, log.data)
            write_file(path / REPORT_TXT, reports.as_text(report).encode())
            document = reports.as_json(report) | {"log": log.source, "log_missing": log.why}
            write_file(path / REPORT_JSON, json.dumps(document, ensure_ascii=False, indent=1).encode())
        before = manifest.load(path)
        dump = answered(before, report)
        if dump != before:
            dump = dump.noted(at, "reported", report.title or "no crash in its log")
            spool.write(dump)
    return dump


def analyse(spool: Spool, directory: str, settings: Settings) -> str | None:
    """Look deeper with drgn into the best core: analysis.json beside it; the vmlinux used, if any.

    Raises:
        AnalysisFailed: drgn gave no answer. The dump is as it was.
    """
    path = spool.root / directory
    dump = manifest.load(path)
    core = attempts.best([file for file in dump.files if file.core])
    if core is None:
        return None
    vmlinux = debuginfo.find(dump.build_id, dump.kernel_release, settings.debuginfo) or debuginfo.fetch(
        dump.build_id, settings.debuginfod, settings.state / "debuginfo"
    )
    bounds = Bounds(settings.analysis_seconds, settings.analysis_memory)
    answer = run_drgn(path / core.name, vmlinux, bounds)
    with spool.changing(directory):
        write_file(path / ANALYSIS, json.dumps(answer, indent=1).encode())
    return str(vmlinux) if vmlinux else None


def answered(dump: Manifest, report: Report) -> Manifest:
    """The manifest with what the log says of the crash."""
    return replace(
        dump,
        crash_class=report.crash_class,
        title=report.title or None,
        function=report.function,
        module=report.module,
        signature=report.signature or None,
        rules_version=report.rules_version,
        hardware=report.hardware,
        kernel_release=dump.kernel_release or report.kernel,
    )
