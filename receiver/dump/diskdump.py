"""The headers of a kdump-compressed file, of every version, word size and byte order.

Source: makedumpfile 1.7.x, diskdump_mod.h; the layouts of other machines and the
sanity rules: libkdumpfile 0.5.5, diskdump.c. Native endianness and alignment of
the machine that crashed; blocks are pages.

    block 0                main header
    block 1                sub header, then the ELF notes
    1 + sub_blocks         bitmap 1 (RAM exists), bitmap 2 (page is in the dump); least bit first
    … + bitmap_blocks      one descriptor of 24 bytes a page of bitmap 2, then the pages
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

from receiver.dump import notes
from receiver.dump.malformed import Malformed
from receiver.dump.pread import PREFIX, Order, Pread, claimed
from receiver.dump.vmcoreinfo import LARGEST as LARGEST_VMCOREINFO
from receiver.dump.vmcoreinfo import Vmcoreinfo
from receiver.dump.vmcoreinfo import parse_untrusted as parse_vmcoreinfo

SIGNATURES = (b"KDUMP   ", b"DISKDUMP")
DESCRIPTOR_SIZE = 24  # bytes: u64 offset, u32 size, u32 flags, u64 page_flags

MOST_PAGES = 1 << 35  # 128 TiB in 4 KiB pages: a bitmap of 4 GiB is the largest that is looked at
_LARGEST_VERSION = 64  # 6 is the last known; the version's place tells the byte order
_NARROW = frozenset(
    {"i386", "i486", "i586", "i686", "arm", "armv5tejl", "armv6l", "armv7l", "armv8l", "ppc", "s390", "mips"}
)


class Flag(IntFlag):
    """Of the header's status, and of a page descriptor's flags."""

    ZLIB = 0x1
    LZO = 0x2
    SNAPPY = 0x4
    INCOMPLETE = 0x8  # status only: makedumpfile ran out of space
    EXCLUDED_VMEMMAP = 0x10  # status only
    ZSTD = 0x20


COMPRESSIONS = {Flag.ZLIB: "zlib", Flag.LZO: "lzo", Flag.SNAPPY: "snappy", Flag.ZSTD: "zstd"}


class Region(NamedTuple):
    """A stretch of the file, bytes."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class Utsname(NamedTuple):
    """new_utsname; empty strings where a hypervisor left it blank or it is corrupt."""

    sysname: str = ""
    nodename: str = ""
    release: str = ""
    version: str = ""
    machine: str = ""
    domainname: str = ""


class SubHeader(NamedTuple):
    """Fields that a version lacks are zero."""

    phys_base: int
    dump_level: int | None
    split: bool
    start_pfn: int
    end_pfn: int
    vmcoreinfo: Region
    notes: Region
    eraseinfo: Region
    max_mapnr: int


@dataclass(frozen=True, slots=True)
class Header:
    """Both headers, and where everything else lies."""

    signature: bytes
    version: int
    order: Order
    word_size: int  # bytes
    utsname: Utsname
    timestamp: int  # seconds since the epoch; 0 where nobody set it
    status: int
    block_size: int  # bytes; also the page size
    sub_blocks: int
    bitmap_blocks: int
    max_mapnr: int  # page frames that the bitmaps speak of
    nr_cpus: int
    sub: SubHeader | None  # None while it has not arrived, and in version 0

    @property
    def incomplete(self) -> bool:
        """makedumpfile itself says that it could not write everything."""
        return bool(self.status & Flag.INCOMPLETE)

    @property
    def compression(self) -> str:
        """The one algorithm of the dump's compressed pages, or ``none``."""
        return next((name for flag, name in COMPRESSIONS.items() if self.status & flag), "none")

    @property
    def bitmap1(self) -> Region:
        """Which page frames are RAM; empty in files that have one bitmap only."""
        size = self.bitmap_blocks * self.block_size
        return Region((1 + self.sub_blocks) * self.block_size, size // 2 if self._two_bitmaps else 0)

    @property
    def bitmap2(self) -> Region:
        """Which page frames are in the dump; in every part of a split dump it speaks of all parts."""
        end = (1 + self.sub_blocks + self.bitmap_blocks) * self.block_size
        return Region(self.bitmap1.end, end - self.bitmap1.end)

    @property
    def _two_bitmaps(self) -> bool:
        # Source: libkdumpfile, read_bitmap(): the only sign is that half of the blocks is enough.
        return self.max_mapnr <= self.bitmap_blocks * self.block_size * 8 // 2

    @property
    def descriptors_offset(self) -> int:
        return (1 + self.sub_blocks + self.bitmap_blocks) * self.block_size

    @property
    def pfn_range(self) -> tuple[int, int]:
        """First page frame and one past the last that this file holds."""
        if self.sub and self.sub.split:
            return min(self.sub.start_pfn, self.max_mapnr), min(self.sub.end_pfn, self.max_mapnr)
        return 0, self.max_mapnr


class _MainFields(NamedTuple):
    timestamp: int
    microseconds: int
    status: int
    block_size: int
    sub_blocks: int
    bitmap_blocks: int
    max_mapnr: int
    total_ram_blocks: int
    device_blocks: int
    written_blocks: int
    current_cpu: int
    nr_cpus: int


# After 8 bytes of signature, the version and 6 x 65 of utsname: struct timeval, aligned, and ten ints.
_VERSION = 8
_UTSNAME = 12
_UTSNAME_FIELD = 65
_MAIN = {8: (408, "qqIiiIIIIIIi"), 4: (404, "iiIiiIIIIIIi")}
_MAIN_SIZE = 464

_SUB = {  # up to max_mapnr_64: 64-bit; 32-bit packed (i386); 32-bit with 64-bit alignment (arm)
    "64": "qiiQQQQQQQQQQQ",
    "32pack": "IiiIIQIQIQIQQQ",
    "32pad": "IiiII4xQI4xQI4xQI4xQQQ",
}


def parse_untrusted(pread: Pread) -> Header:
    """Read both headers.

    Raises:
        Malformed: the file is too short, or no machine's layout gives sensible numbers.
    """
    raw = pread(0, _MAIN_SIZE)
    if raw[:8] not in SIGNATURES:
        raise Malformed("no kdump-compressed file: the signature is missing")
    if len(raw) < 404 + struct.calcsize("<" + _MAIN[4][1]):
        raise Malformed(f"the kdump header is cut short at byte {len(raw)}")
    utsname = _utsname(raw)
    sane = [found for found in _readings(raw) if _is_sane(found[3])]
    if not sane:
        raise Malformed("the kdump header's block size, bitmap size and page count fit no known layout")
    word = 4 if utsname.machine in _NARROW else 8
    size, order, version, main = next((found for found in sane if found[0] == word), sane[0])
    sub = _sub_header(pread, order, size, version, main) if version else None
    max_mapnr = sub.max_mapnr if sub and version >= 6 else main.max_mapnr
    if max_mapnr > main.bitmap_blocks * main.block_size * 8:
        raise Malformed(f"the page bitmaps are too small for {max_mapnr} page frames")
    if max_mapnr > MOST_PAGES:
        raise Malformed(f"{max_mapnr} page frames are claimed; {MOST_PAGES} are believed")
    return Header(
        signature=raw[:8],
        version=version,
        order=order,
        word_size=size,
        utsname=utsname,
        timestamp=main.timestamp,
        status=main.status,
        block_size=main.block_size,
        sub_blocks=main.sub_blocks,
        bitmap_blocks=main.bitmap_blocks,
        max_mapnr=max_mapnr,
        nr_cpus=main.nr_cpus,
        sub=sub,
    )


def vmcoreinfo_untrusted(pread: Pread, header: Header) -> Vmcoreinfo | None:
    """From where the sub header says it lies, or by search while that has not arrived. Raises nothing."""
    place = header.sub.vmcoreinfo if header.sub else Region(0, 0)
    if 0 < place.size <= LARGEST_VMCOREINFO:
        try:
            return parse_vmcoreinfo(claimed(pread, place.offset, place.size))
        except Malformed:
            pass
    return notes.search_untrusted(pread, header.block_size, header.sub_blocks * header.block_size)


def _readings(raw: bytes) -> list[tuple[int, Order, int, _MainFields]]:
    """The header as each kind of machine would have written it, where its version number is plausible."""
    found = []
    for order, prefix in PREFIX.items():
        (version,) = struct.unpack_from(prefix + "i", raw, _VERSION)
        if not 0 <= version <= _LARGEST_VERSION:
            continue
        for size, (offset, layout) in _MAIN.items():
            if len(raw) >= offset + struct.calcsize(prefix + layout):
                found.append(
                    (size, order, version, _MainFields(*struct.unpack_from(prefix + layout, raw, offset)))
                )
    return found


def _is_sane(main: _MainFields) -> bool:
    size = main.block_size
    return (
        1 << 12 <= size <= 1 << 18
        and size & (size - 1) == 0
        and 1 <= main.sub_blocks < 1 << 24
        and main.bitmap_blocks > 0
        and main.max_mapnr <= main.bitmap_blocks * size * 8
    )


def _sub_header(
    pread: Pread, order: Order, word_size: int, version: int, main: _MainFields
) -> SubHeader | None:
    layout = "64" if word_size == 8 else "32pack"
    raw = pread(main.block_size, struct.calcsize("<" + _SUB["64"]))
    # It is written after the notes: until then the file is short, or has a hole here.
    known = struct.calcsize("<" + _sub_layout(layout, version))
    if len(raw) < known or (version >= 3 and not any(raw)):
        return None
    if layout == "32pack" and version >= 3 and not _plausible(_unpack_sub(raw, order, layout, version), main):
        layout = "32pad"
        if len(raw) < struct.calcsize("<" + _sub_layout(layout, version)):
            return None
    return _unpack_sub(raw, order, layout, version)


def _plausible(sub: SubHeader, main: _MainFields) -> bool:
    """Whether VMCOREINFO lies in the sub header's blocks. Source: libkdumpfile, read_sub_hdr_32()."""
    place = sub.vmcoreinfo
    if place == (0, 0):
        return True
    return main.block_size < place.offset and place.end <= main.block_size * (1 + main.sub_blocks)


_SINCE = (0, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6)  # the header version that brought each field


def _sub_layout(layout: str, version: int) -> str:
    """The struct format of the fields that this version has."""
    kept, position, codes = "", 0, _SUB[layout]
    for since in _SINCE:
        start = position
        while codes[position] in "0123456789x":
            position += 1
        position += 1
        if since > version:
            break
        kept += codes[start:position]
    return kept


def _unpack_sub(raw: bytes, order: Order, layout: str, version: int) -> SubHeader:
    fields = struct.unpack_from(PREFIX[order] + _sub_layout(layout, version), raw)
    fields += (0,) * (len(_SINCE) - len(fields))
    phys_base, level, split, start, end, info, info_size, note, note_size, erase, erase_size = fields[:11]
    start_64, end_64, max_mapnr = fields[11:]
    if version >= 6:
        start, end = start_64, end_64
    return SubHeader(
        phys_base=phys_base,
        dump_level=level if version >= 1 else None,
        split=bool(split),
        start_pfn=start,
        end_pfn=end,
        vmcoreinfo=Region(info, info_size),
        notes=Region(note, note_size),
        eraseinfo=Region(erase, erase_size),
        max_mapnr=max_mapnr,
    )


def _utsname(raw: bytes) -> Utsname:
    fields = [
        raw[at : at + _UTSNAME_FIELD] for at in range(_UTSNAME, _UTSNAME + 6 * _UTSNAME_FIELD, _UTSNAME_FIELD)
    ]
    texts = [field.split(b"\0", 1)[0] for field in fields]
    if not all(text.isascii() and text.decode().isprintable() for text in texts):
        return Utsname()
    return Utsname(*(text.decode() for text in texts))
