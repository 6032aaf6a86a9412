"""kdump-compressed files, written: the inverse of ``receiver.dump.diskdump`` and its readers.

Source: makedumpfile 1.7.x, diskdump_mod.h and write_kdump_pages(); the layouts of
other machines: libkdumpfile 0.5.5, diskdump.c.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import cramjam
import lzallright
import zstandard

Order = Literal["little", "big"]
Compression = Literal["none", "zlib", "lzo", "snappy", "zstd"]

FLAGS: dict[Compression, int] = {"none": 0, "zlib": 0x1, "lzo": 0x2, "snappy": 0x4, "zstd": 0x20}
INCOMPLETE = 0x8


def compress(page: bytes, compression: Compression) -> tuple[bytes, int]:
    """What makedumpfile stores for a page, and the flags of its descriptor: raw unless it gets smaller."""
    packed = {
        "none": lambda: page,
        "zlib": lambda: zlib.compress(page, 1),
        "lzo": lambda: bytes(lzallright.LZOCompressor().compress(page)),
        "snappy": lambda: bytes(cramjam.snappy.compress_raw(page)),
        "zstd": lambda: zstandard.ZstdCompressor(level=1).compress(page),
    }[compression]()
    return (packed, FLAGS[compression]) if len(packed) < len(page) else (page, 0)


def note(name: bytes, type_: int, description: bytes, order: Order = "little") -> bytes:
    """An ELF note."""

    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    prefix = "<" if order == "little" else ">"
    head = struct.pack(prefix + "III", len(name) + 1, len(description), type_)
    return head + padded(name + b"\0") + padded(description)


@dataclass
class Kdump:
    """One file to be. `pages`: page frame -> the page's bytes; what is not in it was filtered out."""

    pages: Mapping[int, bytes]
    max_mapnr: int | None = None
    version: int = 6
    order: Order = "little"
    word_size: int = 8
    padded: bool = False  # 64-bit alignment of a 32-bit machine (arm)
    compression: Compression = "zlib"
    block_size: int = 4096
    signature: bytes = b"KDUMP   "
    vmcoreinfo: bytes = b""
    prstatus: int = 1  # CPUs
    eraseinfo: bytes = b""
    split: tuple[int, int] | None = None
    status: int = 0
    timestamp: int = 1_700_000_000
    dump_level: int = 31
    phys_base: int = 0
    machine: str = "x86_64"
    release: str = "6.1.0-test"
    nodename: str = "crashed"
    written: int | None = None  # descriptors (and pages) that were written before it broke off; None: all
    one_bitmap: bool = False
    flags: Mapping[int, int] = field(
        default_factory=dict
    )  # page frame -> flags that its descriptor lies about

    def __post_init__(self) -> None:
        self._prefix = "<" if self.order == "little" else ">"
        self.top = self.max_mapnr if self.max_mapnr is not None else max(self.pages, default=0) + 1

    def writes(self) -> list[tuple[int, bytes]]:
        """The writes in makedumpfile's order: headers, bitmaps, then descriptors and pages by turns."""
        block, notes = self.block_size, self._notes()
        sub_size = struct.calcsize("<" + self._sub_layout())
        sub_blocks = -(-(sub_size + len(notes)) // block) or 1
        bitmap_size = -(-self.top // (8 * block)) * block or block
        count = 1 if self.one_bitmap else 2
        found = [(0, self._main(sub_blocks, count * bitmap_size // block))]
        if notes:
            found.append((block + sub_size, notes))
        first, end = self.split or (0, self.top)
        dumped = [pfn for pfn in sorted(self.pages) if first <= pfn < end]
        bitmaps = (1 + sub_blocks) * block
        table = bitmaps + count * bitmap_size
        data = table + 24 * len(dumped)
        rows, stored, end_of_data = self._store(dumped, data)
        erase = end_of_data if self.eraseinfo else 0
        found.append((block, self._sub(block + sub_size, notes, erase)))
        if not self.one_bitmap:
            found.append((bitmaps, self._bitmap(range(self.top), bitmap_size)))
        found.append((table - bitmap_size, self._bitmap(self.pages, bitmap_size)))
        found += self._by_turns(table, rows, stored)
        if self.eraseinfo:
            found.append((erase, self.eraseinfo))
        return [(offset, piece) for offset, piece in found if piece]

    def build(self) -> bytes:
        """The file."""
        writes = self.writes()
        whole = bytearray(max(offset + len(data) for offset, data in writes))
        for offset, data in writes:
            whole[offset : offset + len(data)] = data
        return bytes(whole)

    def _store(self, dumped: list[int], data: int) -> tuple[list[bytes], list[tuple[int, bytes]], int]:
        rows: list[bytes] = []
        stored: list[tuple[int, bytes]] = []
        zero_page: int | None = None
        for number, pfn in enumerate(dumped):
            if self.written is not None and number >= self.written:
                rows.append(bytes(24))
                continue
            page = self.pages[pfn]
            packed, flags = compress(page, self.compression)
            if not any(page):  # all of them share one
                packed, flags = page, 0
            offset = data
            if not any(page) and zero_page is not None:
                offset = zero_page
            else:
                zero_page = offset if not any(page) else zero_page
                stored.append((offset, packed))
                data += len(packed)
            flags = self.flags.get(pfn, flags)
            rows.append(struct.pack(self._prefix + "QIIQ", offset, len(packed), flags, 0))
        return rows, stored, data

    def _by_turns(
        self, table: int, rows: list[bytes], stored: list[tuple[int, bytes]]
    ) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        step = 16
        for number in range(0, max(len(rows), len(stored)), step):
            found.append((table + 24 * number, b"".join(rows[number : number + step])))
            found += stored[number : number + step]
        return found

    def _main(self, sub_blocks: int, bitmap_blocks: int) -> bytes:
        names = ("Linux", self.nodename, self.release, "#1 SMP", self.machine, "(none)")
        utsname = b"".join(name.encode().ljust(65, b"\0") for name in names)
        head = self.signature + struct.pack(self._prefix + "i", self.version) + utsname
        status = self.status | FLAGS[self.compression]
        if self.word_size == 8:
            head, time = head.ljust(408, b"\0"), "qq"
        else:
            head, time = head.ljust(404, b"\0"), "ii"
        fields = (self.timestamp, 0, status, self.block_size, sub_blocks, bitmap_blocks)
        counts = (min(self.top, 0xFFFFFFFF), len(self.pages), 0, 0, 0, self.prstatus)
        return head + struct.pack(self._prefix + time + "IiiIIIIIIi", *fields, *counts)

    def _sub_layout(self) -> str:
        """Without the fields that this header version does not have."""
        since = (0, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6)
        if self.word_size == 8:
            codes = ["q", "i", "i", "Q", "Q", "Q", "Q", "Q", "Q", "Q", "Q", "Q", "Q", "Q"]
        elif self.padded:
            codes = ["I", "i", "i", "I", "I", "4xQ", "I", "4xQ", "I", "4xQ", "I", "4xQ", "Q", "Q"]
        else:
            codes = ["I", "i", "i", "I", "I", "Q", "I", "Q", "I", "Q", "I", "Q", "Q", "Q"]
        return "".join(code for code, version in zip(codes, since, strict=True) if version <= self.version)

    def _sub(self, notes_at: int, notes: bytes, erase_at: int) -> bytes:
        if self.version == 0:
            return b""
        info_at = notes_at + notes.find(self.vmcoreinfo) if self.vmcoreinfo and notes else 0
        first, end = self.split or (0, 0)
        values = (
            self.phys_base,
            self.dump_level,
            int(self.split is not None),
            first,
            end,
            info_at,
            len(self.vmcoreinfo) if info_at else 0,
            notes_at if notes else 0,
            len(notes),
            erase_at,
            len(self.eraseinfo),
            first,
            end,
            self.top,
        )
        layout = self._sub_layout()
        used = sum(code.isalpha() and code != "x" for code in layout)
        return struct.pack(self._prefix + layout, *values[:used])

    def _notes(self) -> bytes:
        if self.version < 3:
            return b""
        notes = b"".join(note(b"CORE", 1, bytes(336), self.order) for _ in range(self.prstatus))
        return notes + (note(b"VMCOREINFO", 0, self.vmcoreinfo, self.order) if self.vmcoreinfo else b"")

    def _bitmap(self, pfns: Mapping[int, bytes] | range, size: int) -> bytes:
        bits = bytearray(size)
        for pfn in pfns:
            bits[pfn // 8] |= 1 << pfn % 8
        return bytes(bits)
