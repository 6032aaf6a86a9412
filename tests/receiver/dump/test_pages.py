"""Memory by physical address, over every format."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.dump import pages
from receiver.dump.malformed import Malformed
from receiver.dump.pages import Absent, ElfMemory, KdumpMemory
from receiver.dump.pread import of_bytes
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Compression, Kdump, Order

PAGES = {pfn: (b"page %d " % pfn * 600)[:4096] for pfn in [*range(0, 40), 99, 100, 4095, 32768, 40000]}
PAGES[20] = bytes(4096)
COMPRESSIONS: list[Compression] = ["none", "zlib", "lzo", "snappy", "zstd"]
ORDERS: list[Order] = ["little", "big"]


@pytest.mark.parametrize(
    ("compression", "order", "word_size"), list(itertools.product(COMPRESSIONS, ORDERS, (4, 8)))
)
def test_every_page_is_found_whatever_the_compression_and_machine(
    compression: Compression, order: Order, word_size: int
) -> None:
    """Each by its rank in the second bitmap."""
    dump = Kdump(PAGES, compression=compression, order=order, word_size=word_size, machine="x")
    memory = KdumpMemory([of_bytes(dump.build())])
    for pfn, page in PAGES.items():
        assert memory.page(pfn * 4096 + 77) == page


@pytest.mark.parametrize("version", range(1, 7))
def test_every_header_version_leads_to_the_pages(version: int) -> None:
    """makedumpfile has written version 6 since 2013; older files are still about."""
    memory = KdumpMemory([of_bytes(Kdump(PAGES, version=version).build())])
    assert memory.page(40000 * 4096) == PAGES[40000]


@settings(max_examples=50)
@given(st.sets(st.integers(0, 500), min_size=1, max_size=80), st.lists(st.integers(0, 500), max_size=3))
def test_the_parts_of_a_split_dump_are_one_memory(pfns: set[int], borders: list[int]) -> None:
    """Wherever they were split, also in the middle of a byte of the bitmap."""
    content = {pfn: (b"%d." % pfn * 2048)[:4096] for pfn in pfns}
    edges = [0, *sorted(borders), 501]
    ranges = [(first, end) for first, end in itertools.pairwise(edges) if first < end]
    files = [Kdump(content, split=part, max_mapnr=501).build() for part in ranges]
    memory = KdumpMemory([of_bytes(data) for data in reversed(files)])
    for pfn in range(501):
        if pfn in content:
            assert memory.page(pfn * 4096) == content[pfn]
        else:
            with pytest.raises(Absent):
                memory.page(pfn * 4096)


def test_an_absent_page_says_why() -> None:
    """Filtered out, never arrived, behind the end, broken: the reader of a broken dump wants to know."""
    data = Kdump(PAGES, written=38).build()
    memory = KdumpMemory([of_bytes(data)])
    with pytest.raises(Absent, match="0x32000 was filtered out"):
        memory.page(50 * 4096)
    with pytest.raises(Absent, match="never written"):
        memory.page(39 * 4096)
    with pytest.raises(Absent, match="beyond the dump"):
        memory.page(1 << 40)
    whole = Kdump(PAGES, compression="zlib").build()
    with pytest.raises(Absent, match="behind the end"):
        KdumpMemory([of_bytes(whole[:-10])]).page(40000 * 4096)
    with pytest.raises(Absent, match="does not decompress"):
        KdumpMemory([of_bytes(whole[:-10] + bytes(10))]).page(40000 * 4096)


def test_elf_segments_are_memory_and_filtered_tails_are_zeros() -> None:
    """p_filesz < p_memsz: makedumpfile left zero pages out."""
    data = ElfCore([Load(0x10000, b"b" * 4096, memsz=12288), Load(0x1000, b"a" * 6000)]).build()
    memory = ElfMemory(of_bytes(data))
    assert memory.page(0x10000) == b"b" * 4096
    assert memory.page(0x12000) == bytes(4096)
    assert pages.read(memory, 0x1FF0, 0x20) == b"a" * 0x20
    with pytest.raises(Absent, match="in no segment"):
        memory.page(0x13000)


def test_segments_that_overlap_are_all_searched() -> None:
    """/proc/vmcore has the kernel's text twice: in its own segment and in the RAM around it."""
    memory = ElfMemory(of_bytes(ElfCore([Load(0x1000, b"x" * 0x4000), Load(0x2000, b"x" * 0x1000)]).build()))
    assert memory.page(0x3000) == b"x" * 4096


def test_reads_cross_page_borders() -> None:
    """A structure does not care."""
    memory = KdumpMemory([of_bytes(Kdump(PAGES).build())])
    assert pages.read(memory, 4090, 5000) == (PAGES[0] + PAGES[1] + PAGES[2])[4090:9090]


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk over a large machine must not hold it in memory."""
    monkeypatch.setattr(pages, "CACHED_BYTES", 8 * 4096)
    memory = KdumpMemory([of_bytes(Kdump(PAGES).build())])
    for _ in range(2):
        for pfn, page in PAGES.items():
            assert memory.page(pfn * 4096) == page
    assert len(memory._cache) <= 8


@pytest.mark.parametrize("files", [[], [b"KDUMP   "], [Kdump(PAGES).build(), b""]])
def test_what_holds_no_memory_is_malformed(files: list[bytes]) -> None:
    """One error type."""
    with pytest.raises(Malformed):
        KdumpMemory([of_bytes(data) for data in files])
