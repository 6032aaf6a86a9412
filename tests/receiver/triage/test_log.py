"""Any tool's kernel log is read: prefixes go, times and callers stay, hostile bytes are bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.triage import log as reader
from receiver.triage.log import read_untrusted


@pytest.mark.parametrize(
    ("raw", "seconds", "caller"),
    [
        ("BUG: x", None, None),
        ("[   12.345678] BUG: x", 12.345678, None),
        ("<1>[   12.345678] BUG: x", 12.345678, None),
        ("[   12.345678][ T1234] BUG: x", 12.345678, "T1234"),
        ("[   12.345678] [    C0] BUG: x", 12.345678, "C0"),
        ("3,1234,12345678,-;BUG: x", 12.345678, None),
        ("6.1.0,3,1234,12345678,-,caller=T7;BUG: x", 12.345678, "T7"),
        ("Jan  3 04:05:06 host kernel: [   12.345678] BUG: x", 12.345678, None),
        ("2024-01-03T04:05:06.123456+01:00 host kernel: BUG: x", None, None),
        ("[Wed Jan  3 04:05:06 2024] BUG: x", 273906.0, None),
        ("host login: [   12.345678] BUG: x", 12.345678, None),
        ("** 93 printk messages dropped ** [   12.345678] BUG: x", 12.345678, None),
    ],
)
def test_every_prefix_is_understood(raw: str, seconds: float | None, caller: str | None) -> None:
    """printk, caller IDs, /dev/kmsg, netconsole, syslog, dmesg -T, a login prompt on the serial console."""
    line = read_untrusted(raw.encode()).line(0)
    assert (line.seconds, line.caller, line.text) == (seconds, caller, "BUG: x")


def test_later_lines_of_a_record_belong_to_the_first() -> None:
    """vmcore-dmesg indents them, makedumpfile does not: both inherit time and caller."""
    log = read_untrusted(b"[    1.000000][    T5] Mem-Info:\n active:1\ninactive:2\n[    2.000000] next\n")
    assert [(line.seconds, line.caller) for line in map(log.line, range(4))] == [
        (1.0, "T5"),
        (1.0, "T5"),
        (1.0, "T5"),
        (2.0, None),
    ]


def test_colours_controls_and_carriage_returns_go() -> None:
    """A quoted line cannot drive the terminal it is shown on, nor turn its text around."""
    log = read_untrusted("\x1b[1;31m[    1.000000] B\x00UG:\x07 x\u202e\x9b31m\r\r\n".encode())
    assert log.line(0).text == "BUG: x31m"
    assert len(log) == 1


def test_bytes_that_are_no_utf8_do_not_hide_the_rest() -> None:
    """Each becomes a replacement character."""
    assert read_untrusted(b"[    1.000000] comm \xff\xfe:42\n").line(0).text == "comm \ufffd\ufffd:42"


def test_only_the_end_of_a_huge_log_is_read_and_lines_keep_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash is at the end."""
    monkeypatch.setattr(reader, "MAX_BYTES", 100)
    monkeypatch.setattr(reader, "MAX_LINES", 5)
    text = b"".join(b"line %d\n" % number for number in range(1, 101))
    log = read_untrusted(text)
    assert log.line(len(log) - 1).text == "line 100"
    assert all(log.line(n).text == f"line {log.line(n).number}" for n in range(len(log)))
    assert len(log) <= 5
    assert read_untrusted(text, dropped=1000).line(0).number == log.line(0).number + 1000


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_a_log(data: bytes) -> None:
    """Nothing is raised, every line is bounded, numbers rise by one."""
    log = read_untrusted(data)
    lines = [log.line(index) for index in range(len(log))]
    assert [line.number for line in lines] == list(range(1, len(log) + 1))
    assert all("\n" not in line.text and len(line.text) <= reader.MAX_LINE for line in lines)
    assert all(log.index_at(log.start_of(index)) == index for index in range(len(log)))
