"""Hostile bytes: flipped, cut and invented dumps end in a verdict, an answer or Malformed, and soon."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.dump import inplace
from receiver.dump.facts import facts_untrusted
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread
from receiver.dump.printk import log_of_parts_untrusted, log_untrusted
from receiver.dump.progress import Progress
from receiver.dump.verdict import judge_untrusted
from receiver.dump.worth import Verdict
from tests.builders import flattened
from tests.builders.kdump import Order
from tests.builders.machine import Machine, Message

MESSAGES = [Message(b"message %d " % number, number * 10**9) for number in range(40)]
SECONDS = 5.0  # that one small hostile file may take; most take some milliseconds


def _seeds() -> list[bytes]:
    found = []
    orders: list[Order] = ["little", "big"]
    for order, form in itertools.product(orders, ("ringbuffer", "structured", "flat")):
        machine = Machine(order=order)
        if form == "flat":
            machine.flat(b"<6>hello\n" * 50)
        else:
            getattr(machine, form)(MESSAGES)
        machine.x86_tables(0xFF11000000000000, 0, 1 << 21, page_bits=21)
        found += [machine.kdump().build(), machine.elf().build(), machine.elf(extended=True).build()]
    arm = Machine("aarch64", image=0xFFFF800010080000, image_paddr=0x40080000)
    arm.ringbuffer(MESSAGES)
    arm.arm64_tables(0xFFFF000000000000, 0x40000000, 1 << 14)
    split = arm.kdump(split=(0x40080, 0x40082), compression="lzo").build()
    return [*found, arm.kdump(compression="zstd").build(), arm.kdump(compression="snappy").build(), split]


SEEDS = _seeds()
FLIPS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12)


def strict(data: bytes) -> Pread:
    """Reads as pread(2) takes them, and only of sizes that a receiver can afford."""

    def pread(offset: int, size: int) -> bytes:
        assert 0 <= offset < 1 << 63
        assert 0 <= size <= 64 << 20
        return data[offset : offset + size]

    return pread


def look_at_everything(data: bytes) -> None:
    """All readers of the package, one after another."""
    begun = time.perf_counter()
    pread = strict(data)
    kind = sniff_untrusted(data[:4096])
    facts_untrusted(pread, kind)
    log_untrusted(pread, kind)
    log_of_parts_untrusted([pread, pread])
    for ended in (None, False, True):
        judged = judge_untrusted(pread, len(data), kind, ended=ended, deep=True, workers=1)
        assert judged.verdict in Verdict
        assert judged.reason
    progress = Progress()
    progress.observe(0, len(data))
    estimate = progress.estimate(pread)
    assert estimate.fraction is None or 0 <= estimate.fraction <= 1
    assert time.perf_counter() - begun < SECONDS


def flipped(data: bytes, flips: list[tuple[int, int]], within: int) -> bytes:
    whole = bytearray(data)
    for at, value in flips:
        whole[at % min(within, len(whole))] = value
    return bytes(whole)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), FLIPS)
def test_flipped_headers_hurt_nobody(data: bytes, flips: list[tuple[int, int]]) -> None:
    """The first 700 bytes hold every count, size and offset of the headers."""
    look_at_everything(flipped(data, flips, 700))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), FLIPS)
def test_flipped_notes_tables_and_pages_hurt_nobody(data: bytes, flips: list[tuple[int, int]]) -> None:
    """VMCOREINFO, bitmaps, descriptors, the ring itself and the page tables."""
    look_at_everything(flipped(data, flips, len(data)))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 1 << 20))
def test_cut_dumps_hurt_nobody(data: bytes, cut: int) -> None:
    """Anywhere."""
    look_at_everything(data[: cut % len(data)])


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"KDUMP   \6\0\0\0", b"\x7fELF\2\1\1" + bytes(9) + b"\4\0"]), st.binary(max_size=6000)
)
def test_invented_dumps_hurt_nobody(signature: bytes, rest: bytes) -> None:
    """A signature, and noise."""
    look_at_everything(signature + rest)


@settings(max_examples=100, deadline=None)
@given(FLIPS)
def test_flipped_streams_hurt_nobody(flips: list[tuple[int, int]]) -> None:
    """Records that lie about their places."""
    flat = bytearray(flattened.stream([(at, SEEDS[0][at : at + 500]) for at in range(0, len(SEEDS[0]), 500)]))
    for at, value in flips:
        flat[4096 + at % (len(flat) - 4096)] = value
    try:
        view = inplace.open_untrusted(strict(bytes(flat)))
    except Malformed:
        return
    log_untrusted(view.pread, Kind.KDUMP)
    judge_untrusted(view.pread, view.size, Kind.KDUMP, ended=view.ended)


def _claims(kdump_offset: int, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:kdump_offset] + value.to_bytes(8, "little") + data[kdump_offset + 8 :]


CLAIMS = {
    "max_mapnr of 2^60": _claims(4096 + 96, 1 << 60),
    "a bitmap of 2^44 bytes": _claims(436, 0xFFFFFFFF),
    "sub header of 2^31 blocks": _claims(432, 0x7FFFFFFF),
    "VMCOREINFO of 2^62 bytes": _claims(4096 + 40, 1 << 62),
    "VMCOREINFO at 2^62": _claims(4096 + 32, 1 << 62),
    "notes of 2^62 bytes": _claims(4096 + 56, 1 << 62),
    "a split from 2^62 on": _claims(4096 + 80, 1 << 62),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_large_claims_cost_nothing(claim: str) -> None:
    """Eight bytes of a header must not cost memory or minutes."""
    look_at_everything(CLAIMS[claim](SEEDS[0]))


def test_a_sparse_file_of_claims_is_judged_soon() -> None:
    """A hole costs its sender nothing, so neither may it cost us: a bitmap of 512 MiB of zeros."""
    head = bytearray(SEEDS[0][: 5 * 4096])
    blocks = (1 << 30) // 4096
    head[436:440] = blocks.to_bytes(4, "little")
    head[4096 + 96 : 4096 + 104] = (1 << 32).to_bytes(8, "little")

    def pread(offset: int, size: int) -> bytes:
        return bytes(head[offset : offset + size]).ljust(size, b"\0")

    begun = time.perf_counter()
    assert judge_untrusted(pread, 1 << 40, Kind.KDUMP, ended=True).verdict is not Verdict.COMPLETE
    log_untrusted(pread, Kind.KDUMP)
    assert time.perf_counter() - begun < 60


def test_the_corpus_of_found_troubles_stays_harmless() -> None:
    """Each file once made a reader misbehave; its name says how."""
    files = sorted((Path(__file__).parents[2] / "data" / "corpus").glob("*.bin"))
    assert files
    for file in files:
        look_at_everything(file.read_bytes())
