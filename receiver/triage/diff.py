"""What differs between two reports: is it the same crash, and if not, where do they part?"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from receiver.triage.report import SHORT, Report

_FIELDS = (
    ("class", "crash_class"),
    ("title", "title"),
    ("function", "function"),
    ("module", "module"),
    ("kernel", "kernel"),
    ("hardware", "hardware"),
    ("taint", "taint"),
    ("task", "comm"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs; None where a report does not say."""

    name: str
    left: str | None
    right: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of the stacks, side by side: ``=`` in both, ``-`` only left, ``+`` only right."""

    sign: str
    frame: str


@dataclass(frozen=True, slots=True)
class Diff:
    """``same`` says whether both are of one group; modules are those that only one of them had loaded."""

    same: bool
    left: str
    right: str
    changes: tuple[Change, ...]
    stack: tuple[Step, ...]
    modules_left: tuple[str, ...]
    modules_right: tuple[str, ...]


def diff(left: Report, right: Report) -> Diff:
    """Compare two reports. Offsets inside a function do not count: another build moves them all."""
    changes = [
        Change(name, getattr(left, field), getattr(right, field))
        for name, field in _FIELDS
        if getattr(left, field) != getattr(right, field)
    ]
    ours, theirs = (frozenset(_bare(module) for module in report.modules) for report in (left, right))
    return Diff(
        same=left.signature == right.signature,
        left=left.signature,
        right=right.signature,
        changes=tuple(changes),
        stack=tuple(_stack([_function(f) for f in left.trace], [_function(f) for f in right.trace])),
        modules_left=tuple(sorted(ours - theirs)),
        modules_right=tuple(sorted(theirs - ours)),
    )


def _bare(module: str) -> str:
    return module.partition("(")[0]


def _function(frame: str) -> str:
    """``? foo+0x12 [bar]`` without its offset."""
    name, plus, rest = frame.partition("+0x")
    return name + (f" {rest.partition(' ')[2]}".rstrip() if plus else "")


def _stack(left: list[str], right: list[str]) -> list[Step]:
    steps = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal":
            steps += [Step("=", frame) for frame in left[i1:i2]]
        else:
            steps += [Step("-", frame) for frame in left[i1:i2]]
            steps += [Step("+", frame) for frame in right[j1:j2]]
    return steps


def as_text(found: Diff) -> str:
    """For people: the verdict, the facts that differ, the stacks."""
    verdict = "the same signature" if found.same else "two signatures"
    blocks = [f"{verdict}: {found.left[:SHORT]} {found.right[:SHORT]}\n"]
    if found.changes:
        rows = (
            f"{one.name:<10} - {one.left or '?'}\n{'':<10} + {one.right or '?'}\n" for one in found.changes
        )
        blocks.append("".join(rows))
    if any(step.sign != "=" for step in found.stack):
        signs = {"=": " "}
        rows = (f"  {signs.get(step.sign, step.sign)} {step.frame}\n" for step in found.stack)
        blocks.append("Stack, innermost first:\n" + "".join(rows))
    for sign, modules in (("-", found.modules_left), ("+", found.modules_right)):
        if modules:
            blocks.append(f"Modules {sign} {' '.join(modules)}\n")
    return "\n".join(blocks)
