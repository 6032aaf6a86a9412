"""Of all a log reports, the crash is found: what came long before and what only followed never names it."""

from __future__ import annotations

import pytest

from receiver.triage.answer import triage_untrusted
from tests.builders.kernel_logs import KTHREAD, SYSCALL, log, quiet, stack, who, x86

WARNING = x86("WARNING: CPU: 1 PID: 9 at drivers/old.c:70 old_warn+0x4d/0x60", "old_warn", *KTHREAD)
NULL = x86(
    ["BUG: kernel NULL pointer dereference, address: 0000000000000018", "Oops: 0002 [#1] SMP"],
    "acme",
    *SYSCALL,
)
NULL_TITLE = "BUG: unable to handle kernel NULL pointer dereference in acme"


def title(*logs: bytes) -> str:
    return triage_untrusted(b"".join(logs)).title


def test_an_oops_that_ends_in_kexec_needs_no_panic_line() -> None:
    """More than half of all crashes leave none."""
    assert title(quiet(1), log(*NULL)) == NULL_TITLE


@pytest.mark.parametrize(
    "words",
    [
        "Fatal exception",
        "Fatal exception in interrupt",
        "Oops: Fatal exception",
        "panic_on_warn set ...",
        "kernel: panic_on_warn set ...",
        "Attempted to kill init! exitcode=0x0000000b",
        "Attempted to kill the idle task!",
        "Aiee, killing interrupt handler!",
        "softlockup: hung tasks",
        "some vendor's words for an oops",
    ],
)
def test_last_words_never_name_a_crash(words: str) -> None:
    """They say that something happened; what, stands above."""
    panic = [f"Kernel panic - not syncing: {words}", *who(), "Call Trace:", *stack("dump_stack_lvl", "panic")]
    report = triage_untrusted(log(*NULL) + log(*panic, start=100.5))
    assert report.title == NULL_TITLE
    assert report.lines[-1].text == panic[0]


def test_last_words_on_a_slow_console_still_name_what_stands_above() -> None:
    """Half a minute of printing at 9600 baud lies between them."""
    assert title(log(*NULL), log("Kernel panic - not syncing: Fatal exception", start=130)) == NULL_TITLE


def test_last_words_alone_are_all_there_is() -> None:
    """A log that was cut gives what it has."""
    report = triage_untrusted(log("Kernel panic - not syncing: hung_task: blocked tasks"))
    assert (report.crash_class, report.title, report.function) == ("hung-task", "INFO: task hung", None)
    assert title(log("Kernel panic - not syncing: Fatal exception")) == "kernel panic: Fatal exception"


@pytest.mark.parametrize("ago", [3600, 30, 2])
def test_a_warning_before_does_not_name_the_oops(ago: float) -> None:
    """Days or seconds ago: the machine went on."""
    report = triage_untrusted(log(*WARNING, start=10_000 - ago) + log(*NULL, start=10_000))
    assert report.title == NULL_TITLE
    assert [line.text for line in report.earlier] == [WARNING[0]]


def test_a_warning_at_once_before_the_oops_names_it() -> None:
    """Then the oops is what became of it."""
    assert title(log(*WARNING), log(*NULL, start=100.1)) == "WARNING in old_warn"


def test_corruption_seconds_before_names_what_it_broke() -> None:
    """A use after free comes first, the page fault after."""
    kasan = [
        "BUG: KASAN: use-after-free in f+0x1/0x2",
        "Read of size 8 at addr ffff8881d2bec328 by task x/9",
        *who(9),
        "Call Trace:",
        *stack("dump_stack_lvl", "kasan_report", "acme_get", *SYSCALL),
    ]
    assert title(log(*kasan), log(*NULL, start=103)) == "KASAN: use-after-free Read in f"
    assert title(log(*kasan), log(*NULL, start=200)) == NULL_TITLE


def test_the_first_oops_of_a_burst_names_it() -> None:
    """The others are what it broke on its way."""
    second = x86("general protection fault: 0000 [#2] SMP", "victim", *KTHREAD)
    assert (
        title(
            log(*NULL),
            log(*second, start=101),
            log("Kernel panic - not syncing: Fatal exception", start=101.5),
        )
        == NULL_TITLE
    )


def test_hung_tasks_reported_for_minutes_are_one_burst() -> None:
    """The first of them holds what the others wait for."""

    def hung(name: str) -> list[str]:
        return [
            f"INFO: task {name}:42 blocked for more than 120 seconds.",
            "Call Trace:",
            *stack("__schedule", "schedule", f"wait_{name}", *SYSCALL),
        ]

    panic = log("Kernel panic - not syncing: hung_task: blocked tasks", start=350)
    logs = (log(*hung("a"), start=100), log(*hung("b"), start=222), log(*hung("c"), start=344))
    assert title(*logs, panic) == "INFO: task hung in wait_a"


def test_a_hung_task_panic_is_not_named_after_a_warning_in_its_burst() -> None:
    """The panic says what it is a consequence of."""
    hung = [
        "INFO: task a:42 blocked for more than 120 seconds.",
        "Call Trace:",
        *stack("schedule", "wait_a", *SYSCALL),
    ]
    panic = log("Kernel panic - not syncing: hung_task: blocked tasks", start=104)
    assert title(log(*WARNING), log(*hung, start=103), panic) == "INFO: task hung in wait_a"


@pytest.mark.parametrize(
    "words", ["sysrq triggered crash", "Out of memory: compulsory panic_on_oom is enabled"]
)
def test_a_panic_that_says_why_is_believed(words: str) -> None:
    """Somebody who asks for a crash after an oops gets that crash; the oops is told as earlier."""
    report = triage_untrusted(log(*NULL) + log(f"Kernel panic - not syncing: {words}", start=105))
    assert report.title == f"kernel panic: {words}"
    assert report.earlier[0].text == NULL[0]


def test_the_end_marker_of_a_panic_is_no_panic() -> None:
    """It repeats the words at the very end, below the stack."""
    panic = "Kernel panic - not syncing: sysrq triggered crash"
    report = triage_untrusted(log(panic, *who(433, "sh"), f"---[ end {panic} ]---"))
    assert (report.lines[0].text, report.comm) == (panic, "sh")


def test_caller_ids_part_the_lines_of_two_cpus() -> None:
    """Two tasks crash at once, line by line; each stack is its own."""
    mine = log(*NULL, caller="T42").splitlines(keepends=True)
    theirs = log(*stack(*[f"other_{n}" for n in range(40)]), caller="T9").splitlines(keepends=True)
    mixed = b"".join(line for pair in zip(mine, theirs, strict=False) for line in pair)
    report = triage_untrusted(mixed)
    assert report.title == NULL_TITLE
    assert not any("other" in frame for frame in report.trace)


def test_without_caller_ids_another_tasks_stack_is_not_blamed() -> None:
    """The PID of the stack's CPU line is not the report's."""
    lines = [
        "WARNING: suspicious RCU usage",
        "1 lock held by mine/42:",
        *who(99, "other"),
        "Call Trace:",
        *stack("not_mine", *SYSCALL),
    ]
    assert title(log(*lines)) == "WARNING: suspicious RCU usage"


def test_a_silent_restart_is_told() -> None:
    """A kernel that starts in another's log died without a word: power, firmware, a hardware watchdog."""
    boot = b"[    0.000000] Linux version 6.1.0-test (b@h) (gcc) #1 SMP\n[    0.000000] Command line: x\n"
    report = triage_untrusted(quiet(5000) + boot)
    assert (report.crash_class, report.title, report.kernel) == (
        "reboot",
        "unexpected kernel reboot",
        "6.1.0-test",
    )
    assert triage_untrusted(boot + quiet(5)).crash_class == "none"


def test_a_crash_before_the_restart_is_the_crash() -> None:
    """A console log holds the boot after it, too."""
    boot = b"[    0.000000] Linux version 6.1.0-test (b@h) (gcc) #1 SMP\n"
    assert title(log(*NULL), boot, quiet(5)) == NULL_TITLE


def test_a_log_without_times_is_read_all_the_same() -> None:
    """printk.time=0: nearness is counted in lines."""
    text = "\n".join([*NULL, "Kernel panic - not syncing: Fatal exception"]).encode()
    assert title(text) == NULL_TITLE
    far = "\n".join([*WARNING, *["chatter"] * 400, *NULL]).encode()
    assert title(far) == NULL_TITLE
