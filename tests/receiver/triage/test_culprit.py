"""Names are made comparable, and who is blamed does not depend on how deep the helpers go."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.triage.answer import triage_untrusted
from receiver.triage.culprit import plain_name
from receiver.triage.rules import builtin
from tests.builders.kernel_logs import SYSCALL, TICK, log, stack, who, x86


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("foo", "foo"),
        ("foo.isra.0", "foo"),
        ("foo.cold", "foo"),
        ("foo.part.3.constprop.7", "foo"),
        (".ppc_elfv1_entry", "ppc_elfv1_entry"),
        ("__x64_sys_rmdir", "sys_rmdir"),
        ("__arm64_sys_rmdir", "sys_rmdir"),
        ("__se_sys_mremap", "sys_mremap"),
        ("__do_sys_clone3", "sys_clone3"),
        ("__ia32_compat_sys_ioctl", "compat_sys_ioctl"),
        ("vzalloc_noprof", "vzalloc"),
        ("__pi_memcpy", "memcpy"),
        ("_Z8fakeNameiii", "fakeName"),
        ("_ZN4core9panicking5panic17h0123456789abcdefE", "core::panicking::panic"),
        ("_Zz", "_Zz"),
    ],
)
def test_names_are_those_people_know(function: str, name: str) -> None:
    """One function has one name, whatever the compiler or the architecture made of it."""
    assert plain_name(function) == name


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["kfree", "memcpy", "_raw_spin_lock", "kasan_report", "list_del", "__kmalloc"]))
)
def test_helpers_between_crash_and_culprit_change_nothing(helpers: list[str]) -> None:
    """However many of everybody's functions lie above it, the same function is blamed, with the same hash."""
    plain = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", "memset", "acme", *SYSCALL)))
    report = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", "memset", *helpers, "acme", *SYSCALL)))
    assert (report.function, report.signature) == ("acme", plain.signature)


def test_a_stack_of_helpers_only_names_the_innermost() -> None:
    """A poor name is better than none."""
    report = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", "memset", "kfree", "do_syscall_64")))
    assert report.function == "memset"


@pytest.mark.parametrize("helper", ["memset", "usercopy_abort", "fortify_panic"])
def test_a_guessed_stack_is_better_than_a_helper(helper: str) -> None:
    """Kernels without an unwinder mark every frame with "?"."""
    guessed = [f"? {name}" for name in ("kfree", "acme", *SYSCALL)]
    report = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", helper, *guessed)))
    assert report.function == "acme"


def test_bare_frames_of_another_do_not_name_a_warning() -> None:
    """In a log without caller IDs a line of another stack follows the headline."""
    warning = x86(
        "WARNING: CPU: 1 PID: 42 at fs/proc/generic.c:330 proc_register+0x2a4/0x370",
        "proc_register",
        "acme_check",
        *SYSCALL,
    )
    mixed = [warning[0], *stack("not_ours"), *warning[1:]]
    report = triage_untrusted(log(*mixed))
    assert (report.title, report.function) == ("WARNING: proc registration bug in acme_check", "acme_check")


def test_the_interrupt_that_took_the_picture_is_never_blamed() -> None:
    """Its frames lie above those of the stalled task."""
    lines = [
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "NMI backtrace for cpu 1",
        *who(),
        "Call Trace:",
        *stack(
            "dump_stack_lvl", "nmi_cpu_backtrace", *TICK, "acme_poll", "acme_ioctl", "do_vfs_ioctl", *SYSCALL
        ),
    ]
    report = triage_untrusted(log(*lines))
    assert report.function == "acme_ioctl"
    assert any("took the picture" in one.verdict for one in report.explanation.weighed)


def test_coverage_probes_do_not_hide_that_a_cpu_waits_for_others() -> None:
    """Woven into all code, they are where the CPU happened to be."""
    lines = x86(
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [worker:42]",
        "__sanitizer_cov_trace_pc",
        "smp_call_function_many_cond",
        "acme_work",
        *SYSCALL,
    )
    assert triage_untrusted(log(*lines)).title == "BUG: soft lockup in smp_call_function"


def test_the_tables_of_functions_are_read_whole() -> None:
    """A typing error in the data is found here, not by an operator."""
    functions = builtin().functions
    assert functions.why("generic", "kfree") == "allocators"
    assert functions.why("generic", "acme") is None
    assert functions.why("anchors", "call_timer_fn") == "dispatchers"
    for table in (
        "machinery",
        "instruments",
        "generic",
        "scheduler",
        "waits",
        "askers",
        "entry",
        "interrupt",
        "anchors",
    ):
        assert functions.tables[table]
