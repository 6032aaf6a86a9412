"""The rearranger: makedumpfile's stream in, the dump's bytes out."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dump.flattened import HEADER_SIZE, Rearranger
from receiver.dump.malformed import Malformed, TooLarge
from tests.builders import flattened

LIMIT = 1 << 40
Records = list[tuple[int, bytes]]

RECORDS = st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=300)), max_size=12)
CUTS = st.lists(st.integers(min_value=0, max_value=9000), max_size=8)


def image(rearranger: Rearranger, pieces: list[bytes]) -> bytes:
    """What the writes make of an empty file."""
    out = bytearray()
    for piece in pieces:
        for offset, data in rearranger.feed_untrusted(piece):
            end = offset + len(data)
            out.extend(bytes(max(0, end - len(out))))
            out[offset:end] = data
    return bytes(out)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@given(RECORDS, CUTS)
def test_any_cut_of_the_stream_gives_the_same_image(records: Records, cuts: list[int]) -> None:
    """Packet boundaries carry no meaning."""
    stream = flattened.stream(records)
    expected = bytearray()
    for offset, data in records:  # the later record wins, holes are zero
        expected.extend(bytes(max(0, offset + len(data) - len(expected))))
        expected[offset : offset + len(data)] = data
    rearranger = Rearranger(LIMIT)
    assert image(rearranger, pieces(stream, cuts)) == expected
    assert rearranger.ended
    assert rearranger.size == len(expected)
    assert rearranger.records == len(records)
    assert rearranger.position == len(stream)


@given(RECORDS, st.integers(0, 4000), CUTS)
def test_a_stream_cut_short_has_no_end(records: Records, missing: int, cuts: list[int]) -> None:
    """The end record is the only word for `whole`; the prefix is what the writes give."""
    stream = flattened.stream(records)
    short = stream[: max(0, len(stream) - 1 - missing)]
    rearranger = Rearranger(LIMIT)
    image(rearranger, pieces(short, cuts))
    assert not rearranger.ended


@given(st.binary(max_size=200), CUTS)
def test_garbage_raises_nothing_but_malformed(garbage: bytes, cuts: list[int]) -> None:
    """What a hostile client sends after a good start ends in one error type, or in writes below the limit."""
    stream = flattened.stream([(0, b"x")], end=False) + garbage
    rearranger = Rearranger(1 << 20)
    try:
        for piece in pieces(stream, cuts):
            for offset, data in rearranger.feed_untrusted(piece):
                assert 0 <= offset <= offset + len(data) <= 1 << 20
    except Malformed:
        pass


def test_the_image_is_that_of_makedumpfile(data: Path, tmp_path: Path) -> None:
    """A real dump, fed in odd pieces, is byte for byte what `makedumpfile -R` makes of it."""
    stream = (data / "vmcore.flat").read_bytes()
    rearranger = Rearranger(LIMIT)
    ours = image(rearranger, [stream[at : at + 4999] for at in range(0, len(stream), 4999)])
    theirs = tmp_path / "vmcore"
    with (data / "vmcore.flat").open("rb") as flat:
        subprocess.run(
            ["makedumpfile", "-R", str(theirs)], stdin=flat, check=True, timeout=60, capture_output=True
        )
    assert ours == theirs.read_bytes()
    assert rearranger.ended
    assert rearranger.trailing == 0


def test_bytes_after_the_end_are_counted_and_dropped() -> None:
    """What follows the end record is no part of the dump."""
    rearranger = Rearranger(LIMIT)
    assert image(rearranger, [flattened.stream([(0, b"dump")]) + b"more"]) == b"dump"
    assert rearranger.trailing == 4


@pytest.mark.parametrize(("offset", "size"), [(-2, 10), (-1, 10), (0, 0), (0, -1), (5, -(1 << 63))], ids=str)
def test_a_record_that_no_makedumpfile_writes_is_malformed(offset: int, size: int) -> None:
    """Negative offsets and sizes that are not positive: the message says which record, where."""
    start = flattened.stream([(0, b"good")], end=False)
    record = offset.to_bytes(8, "big", signed=True) + size.to_bytes(8, "big", signed=True)
    with pytest.raises(
        Malformed, match=f"record 1, at byte {HEADER_SIZE + 20} of the stream, has offset {offset}"
    ):
        image(Rearranger(LIMIT), [start + record])


def test_a_record_beyond_the_limit_is_refused_before_a_byte_of_it_is_written() -> None:
    """A hostile offset would make a file of exabytes."""
    rearranger = Rearranger(1 << 20)
    with pytest.raises(
        TooLarge, match="reaches to byte 4611686018427387908 of the dump; the limit is 1048576"
    ):
        image(rearranger, [flattened.stream([(0, b"good"), (1 << 62, b"evil")])])
    assert rearranger.size == 4


def test_another_header_is_no_flattened_stream() -> None:
    """The signature alone is not enough: the type must be makedumpfile's, too."""
    header = bytearray(flattened.stream([], end=False))
    header[23] = 2
    with pytest.raises(Malformed, match="no flattened stream"):
        image(Rearranger(LIMIT), [bytes(header)])
