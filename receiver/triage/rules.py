"""The rules of triage, read from the data beside this module: rules.toml and frames.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from receiver.triage.frames import SYMBOL

Rank = Literal["report", "die", "panic", "end", "reboot"]
Look = Literal[
    "fault", "lockup", "stall", "wait", "lock", "locking", "inversion", "owner", "leak", "overflow", "none"
]

_MACROS = {
    "SYM": SYMBOL,
    "PROC": r"(?P<comm>.{1,32})[:/](?P<pid>\d{1,10})(?!\d)",
    "WARNED": r"WARNING: (?:\[.{1,200}?\] )?(?:CPU: (?P<cpu>\d{1,5}) PID: (?P<pid>\d{1,10}) )?(?:at )?",
}
_MACRO = re.compile(r"\b(?:SYM|PROC|WARNED)(?=\b|\\)")


@dataclass(frozen=True, slots=True)
class CrashClass:
    """What can crash: the words titles begin with, how the culprit is looked for, one sentence for people.

    A ``mild`` report names a crash that follows only where it follows at once.
    """

    name: str
    title: str
    look: Look
    means: str
    mild: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One headline of the kernel's; rules.toml explains the fields."""

    name: str
    crash: CrashClass
    find: tuple[str, ...]
    match: re.Pattern[str]
    soon: re.Pattern[str] | None
    title: str
    rank: Rank
    look: Look
    of: tuple[str, ...]
    yields: bool
    closed: bool
    rename: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Functions the field groups under one name."""

    name: str
    members: re.Pattern[str]
    look: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Functions:
    """Which functions can be to blame: a table maps the words of a section to its names, as one pattern."""

    tables: Mapping[str, tuple[tuple[str, re.Pattern[str]], ...]]
    buckets: tuple[Bucket, ...]
    known: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def why(self, table: str, function: str) -> str | None:
        """The words of the section that lists this function, None where none does."""
        key = (table, function)
        if key not in self.known:
            if len(self.known) > 20_000:  # names come from hostile logs
                self.known.clear()
            words = (words for words, names in self.tables[table] if names.fullmatch(function))
            self.known[key] = next(words, None)
        return self.known[key]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that decides how a crash is named. ``version`` changes whenever a name or a hash may."""

    version: int
    nearby_seconds: float
    nearby_hang_seconds: float
    nearby_mild_seconds: float
    nearby_cause_seconds: float
    nearby_lines: int
    frames: int
    longest_title: int
    classes: Mapping[str, CrashClass]
    rules: tuple[Rule, ...]
    functions: Functions


def _expression(text: str) -> re.Pattern[str]:
    return re.compile(_MACRO.sub(lambda macro: _MACROS[macro[0]], text))


def _rule(number: int, row: dict[str, Any], classes: Mapping[str, CrashClass]) -> Rule:
    crash = classes[row["class"]]
    return Rule(
        name=f"{crash.name}#{number}",
        crash=crash,
        find=tuple(row["find"]),
        match=_expression(row["match"]),
        soon=_expression(row["soon"]) if "soon" in row else None,
        title=row.get("title", crash.title),
        rank=row.get("rank", "report"),
        look=row.get("look", crash.look),
        of=tuple(row.get("of", ())),
        yields=row.get("yields", False),
        closed=row.get("closed", False),
        rename=row.get("rename", {}),
    )


@cache
def builtin() -> Rules:
    """The rules this version ships."""
    here = files("receiver.triage")
    table = tomllib.loads((here / "rules.toml").read_text("utf-8"))
    names = tomllib.loads((here / "frames.toml").read_text("utf-8"))
    classes = {name: CrashClass(name, **row) for name, row in table["classes"].items()}
    buckets = tuple(
        Bucket(row["name"], re.compile(row["members"]), tuple(row["look"])) for row in names.pop("bucket")
    )
    tables = {
        name: tuple((words, re.compile("|".join(patterns))) for words, patterns in sections.items())
        for name, sections in names.items()
    }
    return Rules(
        version=table["version"],
        nearby_seconds=table["nearby_seconds"],
        nearby_hang_seconds=table["nearby_hang_seconds"],
        nearby_mild_seconds=table["nearby_mild_seconds"],
        nearby_cause_seconds=table["nearby_cause_seconds"],
        nearby_lines=table["nearby_lines"],
        frames=table["frames"],
        longest_title=table["longest_title"],
        classes=classes,
        rules=tuple(_rule(number, row, classes) for number, row in enumerate(table["rule"], 1)),
        functions=Functions(tables, buckets),
    )
