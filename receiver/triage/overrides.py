"""What the operator knows better: names for crashes of a known cause, and signatures that are one group.

A TOML file that the settings name::

    [[override]]                  # all that is given has to match; * and ? as in a shell
    class = "paging"
    function = "acme_*"
    name = "acme_raid firmware 1.2 writes past its ring"
    note = "fixed in firmware 1.3, ticket 4711"

    [[merge]]                     # these signatures are one group
    into = "8d3f…"
    of = ["17ab…", "c0de…"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receiver.failure import Failure
from receiver.triage import signature
from receiver.triage.report import Report
from receiver.triage.rules import Rules


class OverridesError(Failure):
    """The override table says something we cannot obey."""

    exit_code = 78  # EX_CONFIG


_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
_Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class Override(BaseModel):
    """One named cause: what a report must look like, and its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=120)]
    note: str = ""
    crash_class: Annotated[_Pattern | None, Field(alias="class")] = None
    title: _Pattern | None = None
    function: _Pattern | None = None
    module: _Pattern | None = None
    kernel: _Pattern | None = None
    hardware: _Pattern | None = None
    comm: _Pattern | None = None
    signature: _Pattern | None = None

    def matches(self, report: Report) -> bool:
        """Every pattern that is given fits; one without any pattern fits nothing."""
        wanted = {
            name: pattern
            for name in (
                "crash_class",
                "title",
                "function",
                "module",
                "kernel",
                "hardware",
                "comm",
                "signature",
            )
            if (pattern := getattr(self, name)) is not None
        }
        return bool(wanted) and all(
            fnmatchcase(getattr(report, name) or "", pattern) for name, pattern in wanted.items()
        )


class _Merge(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    into: _Digest
    of: Annotated[tuple[_Digest, ...], Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    override: tuple[Override, ...] = ()
    merge: tuple[_Merge, ...] = ()


@dataclass(frozen=True, slots=True)
class Overrides:
    """The table, ready to use: the first override that matches wins, merges come last."""

    overrides: tuple[Override, ...] = ()
    merged: Mapping[str, str] = field(default_factory=dict)

    def apply(self, report: Report, rules: Rules) -> Report:
        """The report under its overridden name and group; ``stack_hash`` stays what it was."""
        for override in self.overrides:
            if override.matches(report):
                digest = signature.stack_hash(rules.version, "override", (override.name,), 1)
                told = f"{override.name}{f' ({override.note})' if override.note else ''}"
                why = replace(report.explanation, override=told)
                report = replace(report, title=override.name, signature=digest, explanation=why)
                break
        if into := self.merged.get(report.signature):
            why = replace(report.explanation, override=report.explanation.override or f"merged into {into}")
            report = replace(report, signature=into, explanation=why)
        return report


NONE = Overrides()


def parse(text: str, source: str) -> Overrides:
    """Read the table; ``source`` names it in errors.

    Raises:
        OverridesError: no TOML, an unknown key, or a value that does not fit.
    """
    try:
        table = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise OverridesError(f"{source}: not TOML: {error}") from None
    except ValidationError as error:
        raise OverridesError("\n".join(_reason(source, problem) for problem in error.errors())) from None
    merged: dict[str, str] = {}
    for merge in table.merge:
        for digest in merge.of:
            if merged.setdefault(digest, merge.into) != merge.into:
                raise OverridesError(f"{source}: merge: {digest} goes into two groups; name it once")
    for digest, into in merged.items():
        if into in merged:
            raise OverridesError(
                f"{source}: merge: {digest} goes into {into}, which is merged itself; name the last"
            )
    return Overrides(table.override, merged)


def load(path: Path) -> Overrides:
    """Read the operator's file.

    Raises:
        OverridesError: not readable, or not a table we understand.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise OverridesError(f"{path}: {error.strerror}; say another file, or none") from None
    except UnicodeDecodeError:
        raise OverridesError(f"{path}: not UTF-8 text") from None
    return parse(text, str(path))


def _reason(source: str, problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{source}: {where}: no such key"
    return f"{source}: {where}: {problem['msg']}"
