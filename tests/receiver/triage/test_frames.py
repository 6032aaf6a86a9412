"""Stacks are read in every layout, and the sections of a report are told apart."""

from __future__ import annotations

import pytest

from receiver.triage.frames import frames_of, traces_of
from receiver.triage.log import read_untrusted
from tests.builders.kernel_logs import log, stack, who


@pytest.mark.parametrize(
    "text",
    [
        " foo.isra.0+0x1f/0x30 [mod]",
        " foo.isra.0+0x1f/0x30 [mod 0123456789abcdef0123456789abcdef01234567]",
        " [<ffffffff813a0886>] foo.isra.0+0x1f/0x30 [mod]",
        " <IRQ>  [<ffffffff813a0886>] foo.isra.0+0x1f/0x30 [mod]",
        "Call Trace: [<c0112233>] foo.isra.0+0x1f/0x30 [mod]",
        " foo.isra.0+0x1f/0x30 [mod] (P)",
        "[c000000049a87710] [c0000000000286fc] foo.isra.0+0x1f/0x30 [mod]",
        " [<000003ff80212345>] foo.isra.0+0x1f/0x30 [mod] ",
    ],
)
def test_a_call_is_read_on_every_architecture(text: str) -> None:
    """Name, offset and module; reliable, and no program counter."""
    (frame,) = frames_of(text, 7)
    assert (frame.function, frame.offset, frame.module) == ("foo.isra.0", 0x1F, "mod")
    assert (frame.reliable, frame.counter, frame.number) == (True, False, 7)


@pytest.mark.parametrize(
    "text",
    [
        " ? foo+0x1f/0x30",
        " [<ffffffff813a0886>] ? foo+0x1f/0x30",
        " ? [<ffffffff813a0886>] foo+0x1f/0x30",
        "[c000000049a87710] [c0000000000286fc] foo+0x1f/0x30 (unreliable)",
        "([<000003ff80212345>] foo+0x1f/0x30)",
    ],
)
def test_what_only_lay_on_the_stack_is_not_relied_on(text: str) -> None:
    """``?``, ``(unreliable)``, s390's parentheses."""
    (frame,) = frames_of(text, 1)
    assert not frame.reliable


@pytest.mark.parametrize(
    "text",
    [
        "RIP: 0010:foo+0x1f/0x30 [mod]",
        "RIP: 0010:[<ffffffff8160fc09>]  [<ffffffff8160fc09>] foo+0x1f/0x30 [mod]",
        "RIP  [<ffffffff8160fc09>] foo+0x1f/0x30 [mod]",
        "IP: [<ffffffff8160fc09>] foo+0x1f/0x30 [mod]",
        "EIP: foo+0x1f/0x30 [mod]",
        "EIP is at foo+0x1f/0x30 [mod]",
        "PC is at foo+0x1f/0x30 [mod]",
        "pc : foo+0x1f/0x30 [mod]",
        "epc   : 8012abcd foo+0x1f/0x30 [mod]",
        "NIP [c000000000123456] foo+0x1f/0x30 [mod]",
        "Krnl PSW : 0704c00180000000 000003ff80212345 (foo+0x1f/0x30 [mod])",
        "era : 9000000000212345 foo+0x1f/0x30 [mod]",
        "--- interrupt: 900 at foo+0x1f/0x30 [mod]",
    ],
)
def test_the_program_counter_is_read_on_every_architecture(text: str) -> None:
    """Where the CPU was, as against where calls return to."""
    (frame,) = frames_of(text, 1)
    assert (frame.function, frame.module, frame.counter) == ("foo", "mod", True)


@pytest.mark.parametrize(
    "text",
    [
        "RIP: 0033:0x7fcafb94e350",
        "RIP: 0010:0xffff880214d12c00",
        "LR is at foo+0x1f/0x30",
        "lr : foo+0x1f/0x30",
        "hardirqs last  enabled at (494027): [<ffffffff8516b14a>] foo+0x0/0x26",
        " lock: foo+0xb40/0xc20, .magic: dead4ead",
        "foo fs/foo.c:286 [inline]",
    ],
)
def test_what_is_no_frame_is_none(text: str) -> None:
    """User space, the link register, lock statistics, inlined functions without an address."""
    assert frames_of(text, 1) == []


def test_arm_names_every_frame_twice() -> None:
    """The callee counts only where a trace begins."""
    text = "[<8011218c>] (unwind_backtrace) from [<8010e300>] (show_stack+0x18/0x1c)"
    assert [frame.function for frame in frames_of(text, 1)] == ["unwind_backtrace", "show_stack"]
    assert [frame.function for frame in frames_of(text, 1, first=False)] == ["show_stack"]
    assert [frame.function for frame in frames_of(" memset from parse+0x1/0x2", 1)] == ["memset", "parse"]


def test_sections_tell_the_crash_from_its_past_and_from_others() -> None:
    """Allocation histories and other CPUs' stacks are not the crash's."""
    text = log(
        "BUG: KASAN: use-after-free in f+0x1/0x2",
        *who(7),
        "Call Trace:",
        *stack("now"),
        "Allocated by task 3:",
        *stack("before"),
        "Freed by task 4:",
        *stack("since"),
        "NMI backtrace for cpu 1",
        *who(9),
        "Call Trace:",
        *stack("elsewhere"),
        "Kernel panic - not syncing: x",
        *who(7),
        "Call Trace:",
        *stack("panic"),
    )
    read = read_untrusted(text)
    traces = traces_of([read.line(index) for index in range(len(read))])
    assert [(trace.about, trace.pid, trace.frames[0].function) for trace in traces] == [
        ("main", 7, "now"),
        ("history", None, "before"),
        ("history", None, "since"),
        ("cpu", 9, "elsewhere"),
        ("main", 7, "panic"),
    ]


def test_a_note_before_the_task_line_is_not_the_stack() -> None:
    """Where preemption was disabled says nothing about where it crashed."""
    text = log(
        "BUG: scheduling while atomic: x/7/0x2",
        "Preemption disabled at:",
        "[<ffffffff81234567>] noted+0x1/0x2",
        *who(7),
        "Call Trace:",
        *stack("now"),
    )
    read = read_untrusted(text)
    traces = traces_of([read.line(index) for index in range(len(read))])
    assert [(trace.about, trace.frames[0].function) for trace in traces] == [
        ("history", "noted"),
        ("main", "now"),
    ]


def test_lock_statistics_before_the_task_line_do_not_hide_the_stack() -> None:
    """lockdep's kernels print them between the headline and the registers."""
    note = "hardirqs last  enabled at (1): [<ffffffff8516b14a>] noted+0x0/0x26"
    read = read_untrusted(log("BUG: soft lockup", note, *who(7), "RIP: 0010:now+0x1/0x2", *stack("caller")))
    (trace,) = traces_of([read.line(index) for index in range(len(read))])
    assert (trace.about, [frame.function for frame in trace.frames]) == ("main", ["now", "caller"])
