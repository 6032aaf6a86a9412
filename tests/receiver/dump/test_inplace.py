"""A flattened stream read where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dump import inplace
from receiver.dump.malformed import Malformed
from receiver.dump.pread import of_bytes
from tests.builders import flattened

RECORDS = st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=60)), max_size=20)


@given(RECORDS, st.integers(0, 400), st.integers(0, 400), st.booleans())
def test_reads_give_what_rearranging_would(
    records: list[tuple[int, bytes]], offset: int, size: int, end: bool
) -> None:
    """In any order, with holes, and where records overlap the later one wins."""
    flat = flattened.stream(records, end=end)
    view = inplace.open_untrusted(of_bytes(flat))
    image = flattened.image(flat)
    assert (view.size, view.ended, view.records, view.stream_bytes) == (
        len(image),
        end,
        len(records),
        len(flat),
    )
    assert view.pread(0, view.size) == image
    assert view.pread(offset, size) == image[offset : offset + size]


@given(RECORDS, st.integers(0, 1500))
def test_a_stream_cut_anywhere_gives_what_came(records: list[tuple[int, bytes]], cut: int) -> None:
    """Also inside a record, or inside its header."""
    flat = flattened.stream(records)[: flattened.HEADER_SIZE + cut]
    view = inplace.open_untrusted(of_bytes(flat))
    assert view.pread(0, view.size) == flattened.image(flat)
    assert view.stream_bytes == len(flat)


def test_a_real_stream_reads_as_its_rearranged_self(data: Path) -> None:
    """Byte for byte."""
    flat = (data / "vmcore.flat").read_bytes()
    view = inplace.open_untrusted(of_bytes(flat))
    assert view.pread(0, view.size) == flattened.image(flat)


@pytest.mark.parametrize(
    "record", [(-5).to_bytes(8, "big", signed=True) + bytes(7) + b"\1", bytes(16), b"\x7f" * 16]
)
def test_a_record_that_no_makedumpfile_writes_is_malformed(record: bytes) -> None:
    """Negative offsets, empty records, and ends beyond any file."""
    with pytest.raises(Malformed):
        inplace.open_untrusted(of_bytes(flattened.header() + record + b"x"))


@given(st.binary(max_size=300))
def test_garbage_raises_only_malformed(data: bytes) -> None:
    """One error type."""
    try:
        view = inplace.open_untrusted(of_bytes(flattened.header() + data))
        view.pread(0, min(view.size, 1000))
    except Malformed:
        pass
