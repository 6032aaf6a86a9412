"""The answer of triage as a record, and as report.json and report.txt hold it. No file is touched here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

SHORT = 12  # hex digits of a signature people are shown


class ReportError(ValueError):
    """These bytes are no report.json of ours."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line worth quoting; ``number`` counts from 1 in the log."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Weighed:
    """One function that was considered, the log line it stands in, and what became of it."""

    number: int
    function: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the answer came about.

    ``rule`` names the headline's rule, ``why`` says why this report of the log, ``how`` how its function was
    found, ``weighed`` what was skipped on the way, ``override`` which entry of the override table changed the
    name; ``dropped_lines`` counts the lines at the log's beginning that were too many to read.
    """

    rule: str = ""
    why: str = ""
    how: str = ""
    override: str | None = None
    dropped_lines: int = 0
    weighed: tuple[Weighed, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The answer. None and empty mean that the log does not say.

    ``crash_class`` is one of the rules' classes, or "none" for a log that reports no crash. ``signature`` is
    the group: ``stack_hash`` unless an override or merge says otherwise. ``rules_version`` is the rules'.
    ``complete`` is false where the report has no reliable stack, as in a log that was cut or interleaved.
    ``taint`` holds the letters, "" for an untainted kernel. ``earlier`` do not name this crash.
    """

    crash_class: str
    title: str
    function: str | None = None
    module: str | None = None
    signature: str = ""
    stack_hash: str = ""
    rules_version: int = 0
    means: str = ""
    kernel: str | None = None
    hardware: str | None = None
    comm: str | None = None
    pid: int | None = None
    cpu: int | None = None
    taint: str | None = None
    complete: bool = True
    lines: tuple[LogLine, ...] = ()
    trace: tuple[str, ...] = ()
    earlier: tuple[LogLine, ...] = ()
    modules: tuple[str, ...] = ()
    registers: tuple[tuple[str, str], ...] = ()
    explanation: Explanation = Explanation()


def as_json(report: Report) -> dict[str, Any]:
    """What report.json holds: plain values; the crash class under the key ``class``."""
    values: dict[str, Any] = {}
    for field in fields(report):
        value = getattr(report, field.name)
        match field.name:
            case "crash_class":
                values["class"] = value
            case "registers":
                values["registers"] = dict(value)
            case "lines" | "earlier":
                values[field.name] = [{"number": line.number, "text": line.text} for line in value]
            case "explanation":
                values["explanation"] = {
                    "rule": value.rule, "why": value.why, "how": value.how, "override": value.override,
                    "dropped_lines": value.dropped_lines,
                    "weighed": [
                        {"number": one.number, "function": one.function, "verdict": one.verdict}
                        for one in value.weighed
                    ],
                }  # fmt: skip
            case _:
                values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def from_json_untrusted(data: bytes) -> Report:
    """Read report.json back; keys that an older version did not write take their defaults.

    Raises:
        ReportError: not JSON, or a value of another shape.
    """
    try:
        table = json.loads(data)
        return _from_table(table)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ReportError(f"not a report.json of ours: {error}") from None


def _from_table(table: Any) -> Report:
    if not isinstance(table, dict):
        raise TypeError("no object")
    values: dict[str, Any] = {
        "crash_class": _typed(table["class"], str),
        "title": _typed(table["title"], str),
    }
    for name in ("signature", "stack_hash", "means"):
        values[name] = _typed(table.get(name, ""), str)
    for name in ("function", "module", "kernel", "hardware", "comm", "taint"):
        values[name] = _optional(table, name, str)
    for name in ("pid", "cpu"):
        values[name] = _optional(table, name, int)
    values["rules_version"] = _typed(table.get("rules_version", 0), int)
    values["complete"] = _typed(table.get("complete", True), bool)
    for name in ("trace", "modules"):
        values[name] = tuple(_typed(item, str) for item in _typed(table.get(name, []), list))
    for name in ("lines", "earlier"):
        quoted = _typed(table.get(name, []), list)
        values[name] = tuple(
            LogLine(_typed(line["number"], int), _typed(line["text"], str)) for line in quoted
        )
    registers = _typed(table.get("registers", {}), dict)
    values["registers"] = tuple((name, _typed(value, str)) for name, value in registers.items())
    told = _typed(table.get("explanation", {}), dict)
    weighed = _typed(told.get("weighed", []), list)
    values["explanation"] = Explanation(
        rule=_typed(told.get("rule", ""), str),
        why=_typed(told.get("why", ""), str),
        how=_typed(told.get("how", ""), str),
        override=_optional(told, "override", str),
        dropped_lines=_typed(told.get("dropped_lines", 0), int),
        weighed=tuple(
            Weighed(_typed(one["number"], int), _typed(one["function"], str), _typed(one["verdict"], str))
            for one in weighed
        ),
    )
    return Report(**values)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.60} is no {kind.__name__}")
    return value


def _optional(table: Mapping[str, Any], name: str, kind: type) -> Any:
    value = table.get(name)
    return None if value is None else _typed(value, kind)


def as_text(report: Report) -> str:
    """What report.txt holds: one screen for people, the reason first."""
    if report.crash_class == "none":
        return _rows(
            [
                ("crash", "none: this log reports no crash"),
                ("kernel", report.kernel),
                ("hardware", report.hardware),
            ]
        )
    who = f"{report.comm or '?'}[{'?' if report.pid is None else report.pid}]"
    where = f"{report.function or 'unknown'}{f' in module {report.module}' if report.module else ''}"
    rows = [
        ("crash", report.title),
        ("class", f"{report.crash_class}: {report.means}"),
        ("where", where),
        ("task", who if report.cpu is None else f"{who} on CPU {report.cpu}"),
        ("kernel", report.kernel),
        ("taint", None if report.taint is None else report.taint or "not tainted"),
        ("hardware", report.hardware),
        ("signature", f"{report.signature[:SHORT]} (rules {report.rules_version})"),
        ("override", report.explanation.override),
    ]
    blocks = [_rows(rows)]
    if not report.complete:
        blocks.append("The log holds no reliable stack: it was cut or interleaved.\n")
    for title, lines in (("Log", report.lines), ("Reported earlier, not the crash", report.earlier)):
        if lines:
            blocks.append(f"{title}:\n" + "".join(f"{line.number:>8}  {line.text}\n" for line in lines))
    if report.trace:
        blocks.append("Stack, innermost first:\n" + "".join(f"          {frame}\n" for frame in report.trace))
    if report.modules:
        blocks.append("Modules: " + " ".join(report.modules) + "\n")
    if report.registers:
        pairs = [f"{name} {value}" for name, value in report.registers]
        blocks.append(
            "Registers:\n"
            + "".join("  " + "  ".join(pairs[n : n + 4]) + "\n" for n in range(0, len(pairs), 4))
        )
    return "\n".join(blocks)


def explained(report: Report) -> str:
    """Why the crash has this name: which lines, which rule, what was skipped."""
    why = report.explanation
    if report.crash_class == "none":
        return why.why + "\n"
    blocks = [
        f"{report.title}\n",
        f"Chosen as the crash: {why.why}.\n"
        + "".join(f"{line.number:>8}  {line.text}\n" for line in report.lines[:1]),
        f"Headline read by rule {why.rule} (rules version {report.rules_version}).\n",
        f"Function: {report.function or 'none'}: {why.how}.\n"
        + "".join(f"{one.number:>8}  {one.function:<40} {one.verdict}\n" for one in why.weighed),
        f"Stack hash {report.stack_hash}: the class and the first functions marked blamed or counted.\n",
    ]
    if why.override:
        blocks.append(f"Renamed by the override table: {why.override}\n")
    if report.earlier:
        told = "".join(f"{line.number:>8}  {line.text}\n" for line in report.earlier)
        blocks.append(f"Reported earlier, not chosen:\n{told}")
    if why.dropped_lines:
        blocks.append(f"The log's first {why.dropped_lines} lines were too many to read.\n")
    return "\n".join(blocks)


def _rows(rows: list[tuple[str, str | None]]) -> str:
    return "".join(f"{name:<10} {value}\n" for name, value in rows if value)
