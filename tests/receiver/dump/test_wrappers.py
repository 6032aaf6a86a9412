"""Compressors' streams around a dump: opened as they arrive, whatever their cut."""

from __future__ import annotations

import contextlib
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dump.malformed import Malformed
from receiver.dump.wrappers import unwrapper

KINDS = ("gzip", "bzip2", "xz", "lz4", "zstd")
CUTS = st.lists(st.integers(0, 3000), max_size=6)


def packed(kind: str, content: bytes) -> bytes:
    """By the program that kdump-tools pipes through."""
    return subprocess.run([kind, "-c"], input=content, capture_output=True, check=True, timeout=60).stdout


SAMPLES = {kind: packed(kind, bytes(range(256)) * 40) + packed(kind, b"the second member") for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(cuts=CUTS)
def test_any_cut_gives_the_content_of_all_members(kind: str, cuts: list[int]) -> None:
    """Packet boundaries carry no meaning, and streams of several members are read to their end."""
    sample = SAMPLES[kind]
    edges = [0, *sorted(min(cut, len(sample)) for cut in cuts), len(sample)]
    opener = unwrapper(kind)
    found = b"".join(piece for a, b in pairwise(edges) for piece in opener.feed_untrusted(sample[a:b]))
    assert found == bytes(range(256)) * 40 + b"the second member"
    assert opener.ended


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_cut_short_has_no_end(kind: str) -> None:
    """The compressor's own end says whether its stream is whole."""
    opener = unwrapper(kind)
    list(opener.feed_untrusted(packed(kind, b"content" * 100)[:-5]))
    assert not opener.ended


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_comes_in_bounded_pieces(kind: str) -> None:
    """A few hundred bytes that expand to a hundred megabytes never lie in memory at once."""
    bomb = packed(kind, bytes(100 << 20))
    sizes = [len(piece) for piece in unwrapper(kind).feed_untrusted(bomb)]
    assert sum(sizes) == 100 << 20
    assert max(sizes) <= 33 << 20


@pytest.mark.parametrize("kind", KINDS)
@given(noise=st.binary(min_size=1, max_size=100), at=st.integers(10, 200))
def test_a_broken_stream_is_malformed(kind: str, noise: bytes, at: int) -> None:
    """Whatever stands in the stream, the one error is Malformed."""
    sample = SAMPLES[kind]
    with contextlib.suppress(Malformed):
        list(unwrapper(kind).feed_untrusted(sample[:at] + noise + sample[at + len(noise) :]))
