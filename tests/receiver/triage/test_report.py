"""The report answers an engineer's first questions, for people and for programs, and reads itself back."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.triage.answer import triage_untrusted
from receiver.triage.report import Report, ReportError, as_json, as_text, explained, from_json_untrusted
from tests.builders.kernel_logs import KTHREAD, log, quiet, stack, who, x86

LINES = x86(
    ["BUG: kernel NULL pointer dereference, address: 0000000000000018", "Oops: 0002 [#1] SMP"],
    "acme_poll [acme]",
    "? stale",
    "kfree",
    "acme_irq [acme]",
    *KTHREAD,
    pid=433,
    comm="kworker/1:1",
)
LOG = quiet(1) + log(*LINES) + log("Kernel panic - not syncing: Fatal exception", start=101)


def test_the_report_knows_who_where_and_on_what() -> None:
    """Task, CPU, kernel, hardware, taint, modules, registers of the kernel (not those of user space)."""
    report = triage_untrusted(LOG)
    assert (report.comm, report.pid, report.cpu) == ("kworker/1:1", 433, 1)
    assert (report.kernel, report.taint) == ("6.1.0-test", "")
    assert report.hardware == "ACME Server 9/Board, BIOS 1.2 01/02/2023"
    assert report.modules == ("acme(O)", "zfs(PO)")
    registers = dict(report.registers)
    assert (registers["RAX"], registers["RSP"]) == ("0000000000000001", "ff34fce8c0013e00")
    assert report.trace[:2] == ("acme_poll+0x1f [acme]", "? stale+0x1f")
    assert report.complete


def test_the_lines_that_tell_are_quoted_with_their_numbers() -> None:
    """Headline, oops, task, program counter, last words: what one greps for."""
    text = LOG.decode().splitlines()
    report = triage_untrusted(LOG)
    assert [line.text for line in report.lines] == [
        LINES[0],
        LINES[1],
        LINES[2],
        LINES[4],
        "Kernel panic - not syncing: Fatal exception",
    ]
    assert all(text[line.number - 1].endswith(line.text) for line in report.lines)


@pytest.mark.parametrize(
    ("line", "comm", "pid", "taint", "kernel"),
    [
        (
            "CPU: 0 PID: 1 Comm: init Kdump: loaded Tainted: G           O       6.1.192-tiny #2 ",
            "init",
            1,
            "GO",
            "6.1.192-tiny",
        ),
        (
            "CPU: 3 UID: 0 PID: 77 Comm: a b c Not tainted 6.12.0-rc7 #0 PREEMPT",
            "a b c",
            77,
            "",
            "6.12.0-rc7",
        ),
        (
            "Pid: 12, comm: java Not tainted 2.6.32-431.el6.x86_64 #1 HP ProLiant DL380p Gen8",
            "java",
            12,
            "",
            "2.6.32-431.el6.x86_64",
        ),
        ("CPU: 0    Not tainted  (2.6.32-17-arm #22)", None, None, "", "2.6.32-17-arm"),
    ],
)
def test_the_task_line_of_every_age_is_read(
    line: str, comm: str | None, pid: int | None, taint: str, kernel: str
) -> None:
    """From 2.6.32 to today."""
    report = triage_untrusted(log("kernel BUG at a.c:1!", "invalid opcode: 0000 [#1] SMP", line))
    assert (report.comm, report.pid, report.taint, report.kernel) == (comm, pid, taint, kernel)


def test_a_hung_task_is_the_task_that_hangs() -> None:
    """Not the watchdog that found it."""
    lines = [
        "INFO: task kworker/u4:1:42 blocked for more than 120 seconds.",
        "      Tainted: G        W  O       6.1.0-test #1",
        "Call Trace:",
        *stack("schedule", "acme_wait"),
        "Kernel panic - not syncing: hung_task: blocked tasks",
        *who(22, "khungtaskd"),
    ]
    report = triage_untrusted(log(*lines))
    assert (report.comm, report.pid, report.cpu, report.taint) == ("kworker/u4:1", 42, None, "GWO")


def test_a_stall_is_the_task_that_stalls() -> None:
    """Not RCU's own thread, which is shown first where it starves."""
    lines = [
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "rcu: RCU grace-period kthread stack dump:",
        "task:rcu_preempt     state:I stack:0     pid:11    ppid:2      flags:0x00004000",
        "Call Trace:",
        *stack("schedule"),
        "NMI backtrace for cpu 1",
        *who(42),
        "Call Trace:",
        *stack("acme"),
    ]
    report = triage_untrusted(log(*lines))
    assert (report.comm, report.pid, report.cpu, report.function) == ("worker", 42, 1, "acme")


def test_modules_wrapped_over_lines_are_all_listed() -> None:
    """A list longer than one printk record."""
    lines = [
        "kernel BUG at a.c:1!",
        *who(),
        "Modules linked in: a(O) b",
        " c d(PO) e",
        " f [last unloaded: g]",
        "RIP: 0010:x+0x1/0x2",
    ]
    assert triage_untrusted(log(*lines)).modules == ("a(O)", "b", "c", "d(PO)", "e", "f")


def test_kernel_and_hardware_come_from_the_boot_messages_where_the_oops_is_cut() -> None:
    """The first lines of the log say both."""
    boot = log("Linux version 5.4.0-42-generic (x@y)", "DMI: ACME Server 9/Board, BIOS 1.2", start=0)
    report = triage_untrusted(boot + log("kernel BUG at a.c:1!"))
    assert (report.kernel, report.hardware) == ("5.4.0-42-generic", "ACME Server 9/Board, BIOS 1.2")
    assert not report.complete


def test_the_text_begins_with_the_reason() -> None:
    """One screen; what is unknown is not mentioned."""
    text = as_text(triage_untrusted(LOG))
    assert text.startswith("crash      BUG: unable to handle kernel NULL pointer dereference in acme_poll\n")
    assert "where      acme_poll in module acme\n" in text
    assert "task       kworker/1:1[433] on CPU 1\n" in text
    assert "Modules: acme(O) zfs(PO)\n" in text
    assert "reports no crash" in as_text(triage_untrusted(quiet(1)))
    assert "no reliable stack" in as_text(triage_untrusted(log("kernel BUG at a.c:1!")))


def test_the_explanation_names_line_rule_and_everything_skipped() -> None:
    """Why this report, why this function, what was passed over."""
    text = explained(triage_untrusted(LOG))
    assert "the first report of the burst that ends in 'Kernel panic" in text
    assert "read by rule null#" in text
    for verdict in ("blamed", "unreliable: found lying on the stack", "skipped: allocators", "counted"):
        assert verdict in text
    assert "no line of this log" in explained(triage_untrusted(quiet(1))).lower()


def test_what_programs_read_is_plain_json_and_reads_back() -> None:
    """report.json is all that is needed to make the report again."""
    report = triage_untrusted(LOG)
    table = as_json(report)
    assert table["class"] == "null"
    assert from_json_untrusted(json.dumps(table).encode()) == report


def test_a_report_of_an_older_version_reads_back() -> None:
    """Keys it did not write take their defaults."""
    assert from_json_untrusted(b'{"class": "gpf", "title": "t"}') == Report("gpf", "t")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"class": 1, "title": "t"}',
        b'{"class": "c", "title": "t", "pid": "1"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    """One error, whatever the bytes."""
    with pytest.raises(ReportError):
        from_json_untrusted(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*as_json(Report("c", "t")), "x"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_a_report_or_refused(value: object) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(ReportError):
        from_json_untrusted(json.dumps(value).encode())
