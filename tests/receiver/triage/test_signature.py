"""One cause, one title and one hash: what differs between two crashes of it is gone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.triage.answer import triage_untrusted
from receiver.triage.signature import stack_hash, title_of, without_details
from tests.builders.kernel_logs import SYSCALL, log, x86


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("timed out after 120 seconds", "timed out after NUM seconds"),
        ("bad pointer 0xffff8881 at ffffffff81234567", "bad pointer ADDR at ADDR"),
        ("in foo.isra.0+0x1f/0x30 of it", "in foo of it"),
        ("peer 10.0.0.1 on CPU#3", "peer IP on CPU"),
        ("at mm/slab.c:123 x", "at mm/slab.c:LINE x"),
        ("Attempted to kill init!", "Attempted to kill init!"),
        ("set ...", "set"),
        ("naïve\ttext", "nave text"),
        ("deadbeef is a word, decade too", "deadbeef is a word, decade too"),
    ],
)
def test_what_differs_from_crash_to_crash_goes(text: str, left: str) -> None:
    """Addresses, numbers, hosts, line numbers; words stay."""
    assert without_details(text, 120) == left


def test_the_same_crash_elsewhere_has_the_same_signature() -> None:
    """Another boot, another task, other addresses, other compiler suffixes."""
    here = x86(
        "BUG: unable to handle page fault for address: ffff88810", "acme.isra.0", "a", "b", *SYSCALL, pid=7
    )
    there = x86(
        "BUG: unable to handle page fault for address: ffff99920",
        "acme.constprop.3",
        "a.cold",
        "b",
        *SYSCALL,
        pid=9,
    )
    one, other = triage_untrusted(log(*here)), triage_untrusted(log(*there, start=9))
    assert (one.title, one.signature) == (other.title, other.signature)
    assert one.pid != other.pid


def test_another_way_to_the_same_function_is_another_hash_under_one_title() -> None:
    """Two levels: the title is coarse, the stack hash fine."""
    one = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", "acme", "by_ioctl", *SYSCALL)))
    other = triage_untrusted(log(*x86("divide error: 0000 [#1] SMP", "acme", "by_timer", *SYSCALL)))
    assert one.title == other.title
    assert one.signature != other.signature


def test_only_the_first_six_functions_count() -> None:
    """Where the stack came from does not matter."""
    names = ["f1", "f2", "f3", "f4", "f5", "f6", "f7"]
    assert stack_hash(1, "null", names, 6) == stack_hash(1, "null", [*names[:6], "other"], 6)
    assert stack_hash(1, "null", names, 6) != stack_hash(1, "null", ["other", *names[1:]], 6)


def test_version_and_class_are_part_of_the_hash() -> None:
    """Signatures of two versions of the rules never meet by chance."""
    hashes = {stack_hash(v, c, ["f"], 6) for v in (1, 2) for c in ("null", "gpf")}
    assert len(hashes) == 4


@settings(deadline=None)
@given(st.text(), st.none() | st.text(max_size=300), st.integers(10, 120))
def test_a_title_is_one_short_line_of_ascii(words: str, function: str | None, longest: int) -> None:
    """Whatever the log holds."""
    title = title_of(words, function, longest)
    assert len(title) <= longest
    assert "\n" not in title
