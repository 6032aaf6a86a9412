"""A crashed machine may send anything: every log gets an answer, soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.triage.answer import triage_untrusted
from receiver.triage.report import as_json, as_text, explained, from_json_untrusted
from receiver.triage.rules import builtin
from tests.builders.kernel_logs import log, quiet, x86

OOPSES = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "data" / "oopses").glob("*.txt"))]
LITERALS = sorted({literal for rule in builtin().rules for literal in rule.find})
PIECES = st.sampled_from(
    [
        *LITERALS,
        "\n",
        " ",
        "foo+0x1/0x2",
        " ? foo+0x1/0x2\n",
        "Call Trace:\n",
        "RIP: 0010:foo+0x1/0x2 [m]\n",
        "[ 1.000001] ",
        "[ 9e9] ",
        "[    T1] ",
        "CPU: 1 PID: 2 Comm: x Not tainted 6.1 #1\n",
        "at: foo+0x1/0x2",
        "Allocated by task 1:\n",
        "\x1b[31m",
        "task:x state:D\n",
        "Modules linked in: a b\n",
        "RAX: 0000000000000000\n",
        "99999999999999999999",
        "x from y+0x1/0x2",
        "{title}",
    ]
)


def check(data: bytes) -> None:
    report = triage_untrusted(data)
    assert "\n" not in report.title
    assert len(report.title) <= 120
    assert report.title.isascii()
    assert (report.crash_class == "none") == (not report.title) == (not report.signature)
    as_text(report)
    explained(report)
    text = str(as_json(report))
    assert text.isprintable() or "\ufffd" in text or not text.isascii()


@settings(deadline=None)
@given(st.binary(max_size=4000))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    """Nothing is raised."""
    check(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=20), max_size=60))
@example(["Kernel panic - not syncing: ", "{x}"])
def test_any_mixture_of_the_kernels_words_gets_an_answer(pieces: list[str]) -> None:
    """Headlines, frames and prefixes in any order."""
    check("".join(pieces).encode())


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(OOPSES), st.data())
def test_a_damaged_oops_gets_an_answer(oops: bytes, data: st.DataObject) -> None:
    """Cut, overwritten, repeated: as pages that never arrived leave it."""
    start = data.draw(st.integers(0, len(oops)))
    end = data.draw(st.integers(start, len(oops)))
    check(oops[:start] + data.draw(st.binary(max_size=30)) + oops[end:] + oops[start:end])


@settings(deadline=None)
@given(st.sampled_from(OOPSES), st.integers(0, 3000))
def test_a_report_cut_anywhere_is_read_back(oops: bytes, cut: int) -> None:
    """What is stored can be read, whatever the log was."""
    import json

    report = triage_untrusted(oops[:cut])
    assert from_json_untrusted(json.dumps(as_json(report)).encode()) == report


MEGABYTE = 1 << 20
LINE = "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n"
STORM = {
    "one line": b"A" * MEGABYTE,
    "newlines": b"\n" * MEGABYTE,
    "no utf-8": b"\xff" * MEGABYTE,
    "escapes": b"\x1b[" * (MEGABYTE // 2),
    "warnings": "".join(f"[{n:5}.0] {LINE}" for n in range(20_000)).encode(),
    "frames": (
        "BUG: KASAN: use-after-free in f+0x1/0x2\n" + "".join(f" f{n}+0x1/0x2\n" for n in range(60_000))
    ).encode(),
    "names of locks": (
        "BUG: KASAN: x in f+0x1/0x2\nCall Trace:\n"
        + "".join(f" {'mutex_lock_' * 20}{n}+0x1/0x2\n" for n in range(4_000))
    ).encode(),
    "names of ioctls": (
        "INFO: rcu_sched self-detected stall on CPU\n"
        + "".join(f" {'compat_' * 34}{n}+0x1/0x2\n" for n in range(4_000))
    ).encode(),
}


@pytest.mark.parametrize("name", STORM)
def test_a_megabyte_of_malice_is_answered_within_a_second(name: str) -> None:
    """Time is linear: 16 times as much (what is read at most) would still do."""
    began = time.process_time()
    check(STORM[name])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("line_length", [0, 1000])
def test_no_literal_of_the_rules_is_a_trap(line_length: int) -> None:
    """A megabyte of each headline's words, in one line and in thousands, together in seconds."""
    began = time.process_time()
    for literal in LITERALS:
        unit = literal.encode() + (b"x" * line_length + b"\n" if line_length else b"")
        triage_untrusted(unit * (MEGABYTE // len(unit)))
    assert (time.process_time() - began) / len(LITERALS) < 0.25


def test_a_megabyte_of_health_before_the_crash_costs_little() -> None:
    """The usual case: well under a second."""
    data = quiet(1) * (MEGABYTE // len(quiet(1))) + log(*x86("divide error: 0000 [#1] SMP", "acme"))
    began = time.process_time()
    assert triage_untrusted(data).function == "acme"
    assert time.process_time() - began < 0.5
