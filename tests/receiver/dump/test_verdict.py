"""Whether a dump is whole, from its bytes alone."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dump import diskdump
from receiver.dump.kind import Kind
from receiver.dump.pread import of_bytes
from receiver.dump.verdict import Judgement, judge_set, judge_untrusted
from receiver.dump.worth import Verdict
from tests.builders import flattened
from tests.builders.kdump import INCOMPLETE, Compression, Kdump

PAGES = {pfn: (b"%d " % pfn * 1400)[:4096] for pfn in range(100, 300)} | {50: bytes(4096), 51: bytes(4096)}
TABLE = 4096 * 4  # where the descriptors of this dump begin: header, sub header, two bitmaps


def judge(data: bytes, *, deep: bool = False, ended: bool | None = None) -> Judgement:
    return judge_untrusted(of_bytes(data), len(data), Kind.KDUMP, ended=ended, deep=deep, workers=1)


def row(data: bytes, number: int) -> tuple[int, int, int]:
    """Offset, size and flags of a descriptor."""
    offset, size, flags = struct.unpack_from("<QII", data, TABLE + 24 * number)
    return offset, size, flags


def changed(data: bytes, number: int, **fields: int) -> bytes:
    """With some fields of one descriptor changed."""
    offset, size, flags = row(data, number)
    new = {"offset": offset, "size": size, "flags": flags} | fields
    whole = bytearray(data)
    struct.pack_into("<QII", whole, TABLE + 24 * number, new["offset"], new["size"], new["flags"])
    return bytes(whole)


@pytest.mark.parametrize("compression", ["none", "zlib", "lzo", "snappy", "zstd"])
@pytest.mark.parametrize("eraseinfo", [b"", b"erase jprobe.hold\n" * 20])
def test_a_whole_dump_is_complete_in_any_compression(compression: Compression, eraseinfo: bytes) -> None:
    """Zero pages share one raw page, erase information follows the pages."""
    judged = judge(Kdump(PAGES, compression=compression, eraseinfo=eraseinfo).build(), deep=True)
    assert judged.verdict is Verdict.COMPLETE, judged.reason
    assert (judged.pages_total, judged.pages_present) == (202, 202)
    assert judged.reason == "all 202 pages are in the file; every one decompresses"


@given(st.integers(0, len(Kdump(PAGES).build()) - 1))
def test_a_file_cut_anywhere_is_not_complete(cut: int) -> None:
    """dd that was killed, a full disk, a dropped connection."""
    assert judge(Kdump(PAGES).build()[:cut]).verdict is not Verdict.COMPLETE


@given(st.integers(4096 + 16, len(flattened.stream(Kdump(PAGES).writes())) - 1))
def test_a_stream_cut_anywhere_is_truncated(cut: int) -> None:
    """Never complete, and never called damaged: what is there is good."""
    image = flattened.image(flattened.stream(Kdump(PAGES).writes())[:cut])
    kind = Kind.KDUMP if image else Kind.EMPTY
    judged = judge_untrusted(
        of_bytes(image), len(image), kind, ended=False, stream_bytes=cut, deep=True, workers=1
    )
    assert judged.verdict is Verdict.TRUNCATED, judged.reason
    assert judged.reason.startswith(f"end record missing after {cut:,} bytes of stream; ")


def test_a_full_disk_leaves_zero_descriptors() -> None:
    """makedumpfile's own sentence on it: only lost pages have offset 0."""
    data = Kdump(PAGES, written=150, status=INCOMPLETE).build()
    judged = judge(data)
    assert judged.verdict is Verdict.TRUNCATED
    assert judged.reason == "52 of 202 page descriptors are missing; the incomplete flag is set"
    assert (judged.pages_total, judged.pages_present) == (202, 150)


def test_the_incomplete_flag_alone_is_enough() -> None:
    """Everything seems there, but makedumpfile says otherwise."""
    assert judge(Kdump(PAGES, status=INCOMPLETE).build()).verdict is Verdict.TRUNCATED


def test_a_missing_end_record_is_enough() -> None:
    """The last record may have been the one that erased a password."""
    judged = judge(Kdump(PAGES).build(), ended=False)
    assert (judged.verdict, judged.pages_present) == (Verdict.TRUNCATED, 202)


Damage = Callable[[bytes], bytes]
DAMAGES: list[tuple[Damage, str]] = [
    (lambda data: changed(data, 7, flags=0x40), "flags 0x40"),
    (lambda data: changed(data, 7, flags=3), "flags 0x3"),
    (lambda data: changed(data, 7, size=5000), "5,000 bytes in a page of 4,096"),
    (lambda data: changed(data, 7, size=0), "0 bytes in a page"),
    (lambda data: changed(data, 7, flags=0), "raw pages have"),
    (lambda data: changed(data, 7, offset=100), "inside the headers"),
    (lambda data: data + b"something else" * 700, "bytes follow the last page"),
    (lambda data: data + b"x", "bytes follow the last page"),
    (lambda data: data[: 3 * 4096 + 30] + b"\0" + data[3 * 4096 + 31 :], "more descriptors follow"),
    (lambda data: data[: 3 * 4096 + 5] + b"\xff" + data[3 * 4096 + 6 :], "inside the headers"),
    (lambda data: data[:428] + b"\xff\xff\xff\xff" + data[432:], "fit no known layout"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES, ids=range(len(DAMAGES)))
def test_what_contradicts_itself_is_damaged(damage: Damage, says: str) -> None:
    """Bitmap, descriptors and size must tell one story; the reason says which of them does not."""
    judged = judge(damage(Kdump(PAGES).build()))
    assert judged.verdict is Verdict.DAMAGED
    assert says in judged.reason


def test_padding_to_a_block_of_dd_does_no_harm() -> None:
    """dd conv=sync fills the last block with zeros."""
    data = Kdump(PAGES).build()
    assert judge(data + bytes(-len(data) % 512)).verdict is Verdict.COMPLETE


def test_the_deep_check_sees_what_the_structure_cannot() -> None:
    """One byte of one page, as a faulty memory bar or disk leaves it."""
    data = bytearray(Kdump(PAGES, compression="zlib").build())
    offset, size, _ = row(bytes(data), 30)
    data[offset + size // 2] ^= 0xFF
    assert judge(bytes(data)).verdict is Verdict.COMPLETE
    judged = judge(bytes(data), deep=True)
    assert judged.verdict is Verdict.DAMAGED
    assert judged.reason.startswith("1 of 202 pages do not decompress; page 30:")


def test_the_deep_check_reports_its_progress() -> None:
    """For the bar on the operator's terminal."""
    data = Kdump({pfn: PAGES[100 + pfn % 200] for pfn in range(9000)}).build()
    seen: list[tuple[int, int]] = []
    judge_untrusted(
        of_bytes(data),
        len(data),
        Kind.KDUMP,
        ended=None,
        deep=True,
        workers=1,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (9000, 9000)
    assert len(seen) > 1


@pytest.mark.slow
def test_the_deep_check_uses_all_cores() -> None:
    """Beyond 32 MiB of page data; the result is that of one core."""
    noise = bytearray(b"".join(struct.pack("<Q", number * 2654435761 % (1 << 61)) for number in range(512)))
    pages = {}
    for pfn in range(12000):
        noise[8 * (pfn % 512)] ^= 0xFF
        pages[pfn] = bytes(noise[:4000]) + bytes(96)
    data = bytearray(Kdump(pages).build())
    assert (
        judge_untrusted(
            of_bytes(bytes(data)), len(data), Kind.KDUMP, ended=None, deep=True, workers=2
        ).verdict
        is Verdict.COMPLETE
    )
    data[-2000] ^= 0xFF
    judged = judge_untrusted(of_bytes(bytes(data)), len(data), Kind.KDUMP, ended=None, deep=True, workers=2)
    assert judged.verdict is Verdict.DAMAGED


def parts(*ranges: tuple[int, int]) -> list[bytes]:
    return [Kdump(PAGES, split=part, max_mapnr=300).build() for part in ranges]


def judged_set(files: list[bytes]) -> Judgement:
    return judge_set([(of_bytes(data), len(data)) for data in files])


def test_a_part_of_a_split_dump_is_judged_by_its_own_range() -> None:
    """Every part has the whole bitmap, but descriptors only for its own page frames."""
    first, second = parts((0, 201), (201, 300))
    assert (judge(first).pages_total, judge(second).pages_total) == (103, 99)
    assert judge(first).reason == "all 103 pages are in the file, page frames 0 to 201 of a split dump"


def test_a_split_dump_is_complete_when_its_parts_tile() -> None:
    """In any order."""
    judged = judged_set(parts((150, 300), (0, 77), (77, 150)))
    assert (judged.verdict, judged.pages_total) == (Verdict.COMPLETE, 202)


@pytest.mark.parametrize(
    ("ranges", "verdict", "says"),
    [
        ([(0, 77), (150, 300)], Verdict.TRUNCATED, "page frames 77 to 150 are in no part"),
        ([(0, 77)], Verdict.TRUNCATED, "page frames 77 to 300 are in no part"),
        ([(0, 200), (150, 300)], Verdict.DAMAGED, "page frames 150 to 200 are in more than one part"),
        ([], Verdict.TRUNCATED, "no part"),
    ],
)
def test_a_missing_part_is_named(ranges: list[tuple[int, int]], verdict: Verdict, says: str) -> None:
    """The operator learns which one to look for."""
    judged = judged_set(parts(*ranges))
    assert judged.verdict is verdict
    assert says in judged.reason


def test_a_broken_part_is_named() -> None:
    """The set is as good as its worst part."""
    whole, broken = parts((0, 150), (150, 300))
    assert judged_set([whole, broken[:-100]]).reason.startswith("part 2 of 2: the file ends")


@pytest.mark.parametrize(
    ("data", "kind", "verdict"),
    [
        (b"", Kind.EMPTY, Verdict.TRUNCATED),
        (b"[    0.0] Linux\n", Kind.TEXT, Verdict.COMPLETE),
        (b"\1\2\3", Kind.UNKNOWN, Verdict.UNKNOWN),
        (b"\x1f\x8b\x08", Kind.GZIP, Verdict.UNKNOWN),
        (b"KDUMP   ", Kind.KDUMP, Verdict.DAMAGED),
    ],
)
def test_what_is_no_dump_gets_a_verdict_too(data: bytes, kind: Kind, verdict: Verdict) -> None:
    """Logs come in the same directory."""
    assert judge_untrusted(of_bytes(data), len(data), kind, ended=None).verdict is verdict


def test_big_machines_are_judged_without_a_look_at_each_page() -> None:
    """131,072 pages in well under a second; ten times the time it takes is allowed."""
    count = 131072
    header = Kdump(dict.fromkeys((0, count - 1), b"x" * 4096), compression="none").build()
    parsed = diskdump.parse_untrusted(of_bytes(header))
    start = parsed.descriptors_offset + 24 * count
    table = b"".join(struct.pack("<QIIQ", start + 4096 * number, 4096, 0, 0) for number in range(count))
    bitmap = parsed.bitmap2
    head = header[: bitmap.offset] + b"\xff" * (count // 8)

    def pread(offset: int, size: int) -> bytes:
        whole = head.ljust(parsed.descriptors_offset, b"\0") + table
        return whole[offset : offset + size]

    begun = time.perf_counter()
    judged = judge_untrusted(pread, start + 4096 * count, Kind.KDUMP, ended=None)
    assert judged.verdict is Verdict.COMPLETE, judged.reason
    assert time.perf_counter() - begun < 1.0
