"""What is said, and when."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.message import LITTLE, Message, Phase, Progress, decode_untrusted
from fence.pair.flags import BadValue
from fence.send.beat import Host, datagram, times
from fence.send.options import Order, from_words, progress, read_key

HOST = Host("n1", bytes(range(16)))


@pytest.mark.parametrize(
    ("count", "interval", "expected"),
    [
        (1, 10, [0]),
        (2, 10, [0, 1, 2, 4, 8, 10]),
        (3, 1, [0, 1, 2]),
        (4, 5, [0, 1, 2, 4, 5, 10, 15]),
        (3, 8, [0, 1, 2, 4, 8, 16]),
        (0, 10, [0, 1, 2, 4, 8, 10, 20, 30]),
        (0, 2, [0, 1, 2, 4, 6, 8, 10, 12]),
    ],
)
def test_times_of_the_beats(count: int, interval: int, expected: list[int]) -> None:
    """The C sender's own, and more of them in the first interval."""
    assert list(islice(times(count, interval), 8)) == expected


@given(st.integers(1, 50), st.integers(1, 100))
def test_a_count_lasts_as_long_as_with_the_c_sender(count: int, interval: int) -> None:
    """SUSE sends -c 5 -i 10 after the dump: 40 s, in which all of C's beats are sent."""
    sent = list(times(count, interval))
    assert set(sent) >= {beat * interval for beat in range(count)}
    assert sent == sorted(set(sent))
    assert sent[-1] == (count - 1) * interval


def test_without_new_flags_it_is_the_c_senders_message() -> None:
    """Byte for byte."""
    assert datagram(Order(nodes=("a",), verbose=1), HOST, 5, 6) == LITTLE


def test_an_extended_beat_says_who_and_when() -> None:
    """Any of the new flags brings node, session, sequence and time."""
    words = ["--phase", "dumping", "--progress", "5/10", "--node", "db1"]
    message = decode_untrusted(datagram(from_words("s", words), HOST, 5, 6))
    assert message == Message(
        node="db1", session=HOST.session, sequence=5, phase=Phase.DUMPING, progress=Progress(5, 10), time=6
    )


def test_a_drill_is_no_beat() -> None:
    """--test has another magic, and is sent once unless more is asked for."""
    order = from_words("s", ["--test", "a"])
    assert decode_untrusted(datagram(order, HOST, 5, 6)).drill
    assert not datagram(order, HOST, 5, 6).startswith(LITTLE)
    assert (order.beats, from_words("s", ["--test", "-c", "0", "a"]).beats) == (1, 0)
    assert from_words("s", ["a"]).beats == 0


def test_a_key_signs(tmp_path: Path) -> None:
    """The first key of the file."""
    file = tmp_path / "key"
    file.write_text(f"# n1\n\n{'ab' * 32}  # new\n{'cd' * 32}\n")
    message = decode_untrusted(datagram(from_words("s", [f"--key={file}"]), HOST, 5, 6))
    assert message.node == "n1"
    assert message.signature
    assert message.signature.made_with(b"\xab" * 32)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "abc", "ab" * 15, "ab" * 65, "xy" * 32, "ab" * 32 + " x", "é"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    """Before a capture kernel finds out."""
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(BadValue, match=f"invalid key '{file}': "):
        read_key(file)
    with pytest.raises(BadValue, match="No such file"):
        read_key(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "/", "x", "1/2/3", "-1", "1.5", "9" * 20, f"{1 << 64}", "²"])
def test_what_is_no_progress_is_refused(text: str) -> None:
    """Two numbers of 8 bytes, the second one optional."""
    with pytest.raises(BadValue, match="invalid progress"):
        progress(text)


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_progress_is_two_numbers(done: int, total: int) -> None:
    """Bytes done, bytes in all."""
    assert progress(f"{done}/{total}") == Progress(done, total)
    assert progress(f"{done}") == Progress(done, 0)
