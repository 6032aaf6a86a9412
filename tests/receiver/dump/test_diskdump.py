"""The headers of kdump-compressed files, of every kind of machine."""

from __future__ import annotations

import itertools

import pytest

from receiver.dump import diskdump
from receiver.dump.facts import facts_untrusted
from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pread import of_bytes
from receiver.dump.verdict import judge_untrusted
from receiver.dump.worth import Verdict
from tests.builders.kdump import Kdump, Order

PAGES = {pfn: bytes([pfn % 251, 1]) * 2048 for pfn in (3, 4, 9, 200, 1023)}
INFO = b"OSRELEASE=5.4.0\nPAGESIZE=4096\nCRASHTIME=1700000001\n"

MACHINES = [(8, False, "x86_64"), (4, False, "i686"), (4, True, "armv7l")]
ORDERS: list[Order] = ["little", "big"]


@pytest.mark.parametrize(
    ("version", "order", "machine"), list(itertools.product(range(1, 7), ORDERS, MACHINES))
)
def test_every_version_word_size_alignment_and_order_is_read(
    version: int, order: Order, machine: tuple[int, bool, str]
) -> None:
    """Native layout of the machine that crashed, which need not be ours."""
    word, padded, name = machine
    dump = Kdump(
        PAGES,
        version=version,
        order=order,
        word_size=word,
        padded=padded,
        machine=name,
        max_mapnr=1030,
        vmcoreinfo=INFO,
        dump_level=17,
    )
    data = dump.build()
    header = diskdump.parse_untrusted(of_bytes(data))
    assert (header.version, header.order, header.word_size) == (version, order, word)
    assert (header.max_mapnr, header.block_size, header.timestamp) == (1030, 4096, 1_700_000_000)
    assert header.sub is not None
    assert header.sub.dump_level == 17
    if version >= 3:
        place = header.sub.vmcoreinfo
        assert data[place.offset : place.end] == INFO
        assert facts_untrusted(of_bytes(data), Kind.KDUMP).kernel_release == "5.4.0"
    judged = judge_untrusted(of_bytes(data), len(data), Kind.KDUMP, ended=None, deep=True, workers=1)
    assert (judged.verdict, judged.pages_total) == (Verdict.COMPLETE, 5), judged.reason


@pytest.mark.parametrize("block_size", [4096, 16384, 65536, 262144])
def test_blocks_are_as_large_as_the_machines_pages(block_size: int) -> None:
    """aarch64 and ppc64le crash with 64 KiB pages."""
    pages = {pfn: bytes([pfn, 7]) * (block_size // 2) for pfn in (1, 5)}
    data = Kdump(pages, block_size=block_size, machine="aarch64", vmcoreinfo=INFO).build()
    header = diskdump.parse_untrusted(of_bytes(data))
    assert header.block_size == block_size
    assert judge_untrusted(of_bytes(data), len(data), Kind.KDUMP, ended=None).verdict is Verdict.COMPLETE


def test_more_page_frames_than_32_bits_count_are_in_the_sub_header() -> None:
    """max_mapnr of the main header is obsolete since version 6; only the bitmap bounds it."""
    data = bytearray(Kdump(PAGES, max_mapnr=2000).build())
    data[440:444] = b"\1\0\0\0"
    assert diskdump.parse_untrusted(of_bytes(bytes(data))).max_mapnr == 2000


def test_a_header_without_its_sub_header_is_an_upload_that_just_began() -> None:
    """makedumpfile writes the sub header after the notes: the file has a hole there until then."""
    writes = Kdump(PAGES, vmcoreinfo=INFO).writes()
    data = bytearray(20000)
    for offset, piece in writes[:2]:
        data[offset : offset + len(piece)] = piece
    header = diskdump.parse_untrusted(of_bytes(bytes(data)))
    assert header.sub is None
    assert facts_untrusted(of_bytes(bytes(data)), Kind.KDUMP).crash_time == 1700000001


def test_files_with_one_bitmap_are_read() -> None:
    """Old diskdump had only the bitmap of dumped pages; libkdumpfile tells by the size."""
    data = Kdump(PAGES, one_bitmap=True, max_mapnr=4096 * 8 - 5, version=1).build()
    header = diskdump.parse_untrusted(of_bytes(data))
    assert header.bitmap1.size == 0
    assert judge_untrusted(of_bytes(data), len(data), Kind.KDUMP, ended=None).pages_total == 5


@pytest.mark.parametrize("cut", [0, 7, 100, 430])
def test_a_header_cut_short_is_malformed(cut: int) -> None:
    """One error type."""
    with pytest.raises(Malformed):
        diskdump.parse_untrusted(of_bytes(Kdump(PAGES).build()[:cut]))


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (428, 4095, "fit no known layout"),  # block size no power of two
        (428, 1 << 30, "fit no known layout"),
        (436, 0, "fit no known layout"),  # no bitmap
        (432, 0, "fit no known layout"),  # no sub header
        (4096 + 96, 1 << 20, "too small"),  # max_mapnr_64 beyond the bitmap
    ],
)
def test_impossible_geometry_is_malformed_and_says_why(offset: int, value: int, says: str) -> None:
    """The rules of libkdumpfile's try_header()."""
    data = bytearray(Kdump(PAGES).build())
    data[offset : offset + 4] = value.to_bytes(4, "little")
    with pytest.raises(Malformed, match=says):
        diskdump.parse_untrusted(of_bytes(bytes(data)))


def test_a_corrupt_utsname_is_left_blank() -> None:
    """hotkdump met such headers in the field; VMCOREINFO says the release."""
    data = bytearray(Kdump(PAGES, vmcoreinfo=INFO).build())
    data[12:402] = bytes(range(130, 255)) * 3 + bytes(15)
    facts = facts_untrusted(of_bytes(bytes(data)), Kind.KDUMP)
    assert (facts.nodename, facts.kernel_release) == (None, "5.4.0")


def test_split_page_frames_beyond_32_bits_are_in_the_newer_fields() -> None:
    """start_pfn and end_pfn are obsolete since version 6."""
    data = bytearray(Kdump(PAGES, split=(4, 201), max_mapnr=1030).build())
    data[4096 + 16 : 4096 + 32] = bytes(16)
    header = diskdump.parse_untrusted(of_bytes(bytes(data)))
    assert header.pfn_range == (4, 201)


def test_the_note_is_told_from_its_name_elsewhere() -> None:
    """Other notes, and a page of the kernel's own strings, may hold the word."""
    data = Kdump(PAGES, vmcoreinfo=INFO).build()
    decoy = b"\0\0\0\0VMCOREINFO\0 is a word"
    image = data[:4096] + decoy + bytes(200) + data[4096 + 104 :]  # in place of the sub header
    facts = facts_untrusted(of_bytes(b"BROKEN!!" + image[8:]), Kind.UNKNOWN)
    assert facts.kernel_release == "5.4.0"
