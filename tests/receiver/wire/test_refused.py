"""A refusal is one line that may be shown anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.wire.refused import MAX_REASON, Refused, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\x1b[2J\x00\u202e\udcff\x7f", r"a\nb\x1b[2J\x00\u202e\udcff\x7f"),
        ("12345", "12345"),
        ("123456", "1234…"),
        ("123\n", r"123\n"),
        ("1234\n", "1234…"),
        ("", ""),
    ],
)
def test_what_cannot_be_printed_is_escaped_and_the_rest_cut(text: str, shown: str) -> None:
    """Escapes count too: the line never grows beyond its limit."""
    assert printable(text, 5 if "\x1b" not in text else 100) == shown


@given(st.text(), st.integers(1, 50))
def test_any_text_becomes_one_bounded_line(text: str, limit: int) -> None:
    """Whatever a client put in."""
    line = printable(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    line.encode()


def test_a_reason_is_bounded() -> None:
    """300 characters are kept whole; one more is cut and marked."""
    assert str(Refused("x" * MAX_REASON)) == "x" * MAX_REASON
    assert str(Refused("x" * (MAX_REASON + 1))) == "x" * (MAX_REASON - 1) + "…"
    assert MAX_REASON == 300
