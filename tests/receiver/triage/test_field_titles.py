"""Real logs get the names the field gave them: class and function of the title, or of an accepted other one.

The logs are ../shared/oops; its README says where they come from and what agreement means. The rules were
made on one half of them, by the hash of the number; what the other half taught is in them since.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from receiver.triage.answer import triage_untrusted
from receiver.triage.report import Report

pytestmark = pytest.mark.shared

OVERALL = 0.90
EACH_CLASS = 0.80
ENOUGH = 10  # logs of a class, for its own threshold

# What the words of a title say about the class; the first that is found in it.
WORDS = {
    "kasan": ("KASAN:",),
    "kmsan": ("KMSAN:",),
    "kcsan": ("KCSAN:",),
    "ubsan": ("UBSAN:",),
    "kfence": ("KFENCE:",),
    "null": ("NULL pointer dereference",),
    "paging": ("unable to handle kernel",),
    "gpf": ("general protection",),
    "bug": ("kernel BUG",),
    "divide": ("divide error",),
    "double-fault": ("double fault",),
    "soft-lockup": ("soft lockup",),
    "rcu-stall": ("detected stall",),
    "hung-task": ("task hung", "task can't die"),
    "rcu-usage": ("suspicious RCU",),
    "spinlock": ("spinlock",),
    "lockdep": ("possible deadlock", "lock state", "unlock balance", "held lock", "lock held", "nested lock"),
    "lockdep ": ("leaked lock", "non-static key"),
    "list-corruption": ("corrupted list",),
    "stack-overflow": ("stack guard", "stack end"),
    "stack-protector": ("stack is corrupted",),
    "refcount": ("refcount bug",),
    "odebug": ("ODEBUG",),
    "atomic": ("scheduling while", "sleeping function"),
    "preemptible": ("preemptible",),
    "page-state": ("Bad page state",),
    "page-table": ("Bad page map", "rss-counter"),
    "leak": ("memory leak",),
    "filesystem": ("Dentry", "Busy inodes"),
    "sysrq": ("sysrq",),
    "panic": ("kernel panic",),
    "reboot": ("unexpected kernel reboot",),
    "trap": ("Internal error", "Unhandled fault", "int3", "stack segment"),
    "warning": ("WARNING",),
    "unknown": ("BUG", "INFO"),
}
_FUNCTION = re.compile(r" in ([A-Za-z_]\w*)[^ ]*(?: / \S+| at addr ADDR)?$")
_HEADER = re.compile(r"(TITLE|ALT|TYPE|START|END|CORRUPTED|SUPPRESSED|PANICKED|FRAME|EXECUTOR): ?(.*)|#.*")


@dataclass(frozen=True, slots=True)
class Case:
    """One log, and what the field accepts as its name; no titles where it holds no crash."""

    number: int
    titles: tuple[str, ...]
    corrupted: bool
    log: bytes


def read(path: Path) -> Case:
    """Split header and log; some logs have no header at all, some a copy of their end."""
    data = path.read_bytes()
    header, _, body = data.partition(b"\n\n")
    lines = [_HEADER.fullmatch(line) for line in header.decode("utf-8", "replace").splitlines()]
    if not all(lines):
        lines, body = [], data
    told = [(line[1], line[2]) for line in lines if line and line[1]]
    titles = tuple(text for key, text in told if key in ("TITLE", "ALT") and text)
    return Case(int(path.name), titles, ("CORRUPTED", "Y") in told, re.split(rb"\nREPORT:", body)[0])


def class_of(title: str) -> str:
    """The class a title's words stand for, "none" for no title."""
    if not title:
        return "none"
    fits = (name for name, words in WORDS.items() if any(word in title for word in words))
    return next(fits, title.split()[0]).strip()


def agrees(case: Case, report: Report) -> bool:
    """The same class, and the same function; frames that are missing cannot be asked for."""
    wanted = class_of(case.titles[0] if case.titles else "")
    if report.crash_class != wanted and not (
        "locking bug" in case.titles[0] and report.crash_class == "lockdep"
    ):
        return False
    functions = {match[1] if (match := _FUNCTION.search(title)) else None for title in case.titles} or {None}
    if "corrupted" in functions or (case.corrupted and functions == {None}):
        return True
    return report.function in functions


def half(number: int) -> str:
    """Which half of the logs: the rules were made on the first."""
    return "first" if hashlib.sha1(str(number).encode()).digest()[0] % 2 == 0 else "second"


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[Case]:
    folder = shared / "oops" / "linux"
    return [read(path) for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]


def test_our_names_agree_with_the_fields(cases: list[Case], capsys: pytest.CaptureFixture[str]) -> None:
    """At least 90 % of all logs in either half, and 80 % of every class that has ten or more."""
    good: Counter[str] = Counter()
    all_of: Counter[str] = Counter()
    misses = []
    for case in cases:
        report = triage_untrusted(case.log)
        fine = agrees(case, report)
        for group in ("all", half(case.number), class_of(case.titles[0] if case.titles else "")):
            all_of[group] += 1
            good[group] += fine
        if not fine:
            misses.append(f"  {case.number}: {case.titles[:1]}, not [{report.crash_class}] {report.title}")
    with capsys.disabled():
        print()
        for group, count in all_of.most_common():
            print(f"  {group:16} {good[group]:4} of {count:4}  {good[group] / count:6.1%}")
        print("\n".join(misses))
    for group in ("all", "first", "second"):
        assert good[group] >= OVERALL * all_of[group], f"{group}: {good[group]} of {all_of[group]}"
    for group, count in all_of.items():
        assert count < ENOUGH or good[group] >= EACH_CLASS * count, f"{group}: {good[group]} of {count}"
