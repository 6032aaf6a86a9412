"""Two reports side by side: one crash or two, and where they part."""

from __future__ import annotations

from receiver.triage.answer import triage_untrusted
from receiver.triage.diff import Change, as_text, diff
from tests.builders.kernel_logs import SYSCALL, log, x86

ONE = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", "acme [m]", "a", "by_ioctl", *SYSCALL)))
OTHER_WAY = triage_untrusted(
    log(*x86("divide error: 0000 [#1] SMP", "acme [m]", "a", "by_timer", *SYSCALL, comm="other"))
)


def test_a_report_does_not_differ_from_itself() -> None:
    """Nor from the same crash of another time."""
    found = diff(ONE, ONE)
    assert found.same
    assert (found.changes, found.modules_left, found.modules_right) == ((), (), ())
    assert as_text(found).startswith("the same signature: ")


def test_where_two_stacks_part_is_shown() -> None:
    """Frames of both, of the first only, of the second only; offsets aside."""
    found = diff(ONE, OTHER_WAY)
    assert not found.same
    assert [(step.sign, step.frame) for step in found.stack][:4] == [
        ("=", "acme [m]"),
        ("=", "a"),
        ("-", "by_ioctl"),
        ("+", "by_timer"),
    ]
    assert found.changes == (Change("task", "worker", "other"),)
    assert "  - by_ioctl\n  + by_timer\n" in as_text(found)


def test_modules_that_only_one_had_are_listed() -> None:
    """Their flags do not count."""
    import dataclasses

    other = dataclasses.replace(ONE, modules=("acme", "nvidia(POE)"))
    found = diff(ONE, other)
    assert (found.modules_left, found.modules_right) == (("zfs",), ("nvidia",))
    assert "Modules - zfs\n\nModules + nvidia\n" in as_text(found)
