"""The crashed machine's memory by physical address, over every format that holds it.

Reads raise :class:`Absent` where a page was filtered out, never arrived or does not
decompress: a reader that salvages goes on with the next page.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from receiver.dump import decompress, diskdump, elf
from receiver.dump.diskdump import DESCRIPTOR_SIZE, Header
from receiver.dump.malformed import Malformed
from receiver.dump.pread import PREFIX, Order, Pread, claimed

CACHED_BYTES = 16 << 20  # of pages kept
_RANKED = 4096  # bytes of bitmap between two known counts
_MOST_BLOCKS = 256  # of bitmap, kept
_OVERLAPS = 64  # segments that may lie over one another before an address is given up


class Absent(Malformed):
    """This page is not in the dump, or not any more."""

    def __init__(self, paddr: int, why: str) -> None:
        super().__init__(f"the page at physical address {paddr:#x} {why}")
        self.paddr = paddr


class Memory(Protocol):
    """Physical memory."""

    @property
    def order(self) -> Order: ...

    @property
    def word_size(self) -> int:
        """Bytes of an unsigned long."""

    @property
    def page_size(self) -> int:
        """Bytes that are there or missing as one."""

    def page(self, paddr: int) -> bytes:
        """The page that holds this address. Raises Absent."""


class KdumpMemory:
    """Memory in a kdump-compressed file, or in all the parts of a split one that are at hand.

    Raises:
        Malformed: a part has no readable headers, or the parts are of different dumps.
    """

    def __init__(self, parts: Sequence[Pread]) -> None:
        self._parts = [_Part(pread) for pread in parts]
        if not self._parts:
            raise Malformed("no part of the dump is there")
        first = self._parts[0].header
        if any(part.header.block_size != first.block_size for part in self._parts):
            raise Malformed("the parts of the split dump are of different dumps")
        self.header = first
        self.order: Order = first.order
        self.word_size = first.word_size
        self.page_size = first.block_size
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    def page(self, paddr: int) -> bytes:
        pfn = paddr // self.page_size
        cached = self._cache.get(pfn)
        if cached is not None:
            self._cache.move_to_end(pfn)
            return cached
        part = next((part for part in self._parts if part.first <= pfn < part.end), None)
        if part is None:
            raise Absent(paddr, "lies beyond the dump's page frames")
        page = part.page(pfn)
        self._cache[pfn] = page
        if len(self._cache) * self.page_size > CACHED_BYTES:
            self._cache.popitem(last=False)
        return page


class _Part:
    """One file: from a page frame's rank in bitmap 2 to its descriptor to its data."""

    def __init__(self, pread: Pread) -> None:
        self._pread = pread
        self.header: Header = diskdump.parse_untrusted(pread)
        self.first, self.end = self.header.pfn_range
        self._size = self.header.block_size
        self._bitmap = self.header.bitmap2
        self._descriptor = struct.Struct(PREFIX[self.header.order] + "QII")
        # Bits set between the part's first byte of bitmap and each step of _RANKED bytes.
        self._start = self.first // 8
        self._ranks = array("Q", [0])
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def page(self, pfn: int) -> bytes:
        offset, size, flags = self._describe(pfn)
        if offset == 0 or size == 0:
            raise Absent(pfn * self._size, "was never written: the dump broke off before it")
        if size > self._size:
            raise Absent(pfn * self._size, f"claims {size} bytes of data")
        data = claimed(self._pread, offset, size)
        if len(data) < size:
            raise Absent(pfn * self._size, "lies behind the end of the file")
        try:
            return decompress.page(data, flags, self._size)
        except Malformed as error:
            raise Absent(pfn * self._size, f"is broken: {error}") from None

    def _describe(self, pfn: int) -> tuple[int, int, int]:
        step, at = divmod(pfn // 8 - self._start, _RANKED)
        block = self._block(step)
        if at >= len(block) or not block[at] >> pfn % 8 & 1:
            raise Absent(pfn * self._size, "was filtered out")
        before = (
            int.from_bytes(block[:at], "little").bit_count() + (block[at] & ((1 << pfn % 8) - 1)).bit_count()
        )
        rank = self._rank(step) + before
        raw = self._pread(self.header.descriptors_offset + rank * DESCRIPTOR_SIZE, self._descriptor.size)
        if len(raw) < self._descriptor.size:
            raise Absent(pfn * self._size, "has its descriptor behind the end of the file")
        offset, size, flags = self._descriptor.unpack(raw)
        return offset, size, flags

    def _rank(self, step: int) -> int:
        """Bits of this part set before the step."""
        while len(self._ranks) <= step:
            block = self._read(len(self._ranks) - 1)
            if len(block) < _RANKED:
                raise Absent(self.first * self._size, "has its bitmap behind the end of the file")
            self._ranks.append(self._ranks[-1] + int.from_bytes(block, "little").bit_count())
        return self._ranks[step]

    def _block(self, step: int) -> bytes:
        block = self._blocks.get(step)
        if block is None:
            block = self._blocks[step] = self._read(step)
            if len(self._blocks) > _MOST_BLOCKS:
                self._blocks.popitem(last=False)
        return block

    def _read(self, step: int) -> bytes:
        offset = self._start + step * _RANKED
        block = self._pread(self._bitmap.offset + offset, min(_RANKED, self._bitmap.size - offset))
        if step == 0 and block and self.first % 8:  # the first bits belong to the part before this one
            block = bytes((block[0] >> self.first % 8 << self.first % 8,)) + block[1:]
        return block


class ElfMemory:
    """Memory in an ELF core; what a segment has in memory but not in the file reads as zeros.

    Raises:
        Malformed: the file has no readable ELF header, or no segments yet.
    """

    def __init__(self, pread: Pread, page_size: int = 4096, core: elf.Elf | None = None) -> None:
        self.core = core or elf.parse_untrusted(pread)
        self._pread = pread
        self._loads = sorted(self.core.loads, key=lambda load: (load.paddr, load.memsz))
        if not self._loads:
            raise Malformed("the program headers of the ELF core have not arrived")
        self._starts = [load.paddr for load in self._loads]
        self.order: Order = self.core.order
        self.word_size = self.core.word_size
        self.page_size = page_size

    def page(self, paddr: int) -> bytes:
        """Zeros where no segment is, but some of the page is in one: RAM need not end with a page."""
        paddr -= paddr % self.page_size
        end = paddr + self.page_size
        whole = bytearray()
        found = False
        while (at := paddr + len(whole)) < end:
            stretch = self._stretch(at, end - at)
            if stretch is None:
                following = bisect_right(self._starts, at)
                until = self._starts[following] if following < len(self._starts) else end
                stretch = bytes(min(until, end) - at)
            else:
                found = True
            whole += stretch
        if not found:
            raise Absent(paddr, "is in no segment")
        return bytes(whole)

    def _stretch(self, paddr: int, size: int) -> bytes | None:
        """Bytes at this address up to the end of the segment that has them, or None."""
        last = bisect_right(self._starts, paddr) - 1
        for number in range(last, max(-1, last - _OVERLAPS), -1):
            load = self._loads[number]
            at = paddr - load.paddr
            if at >= load.memsz:
                continue
            size = min(size, load.memsz - at)
            if at >= load.filesz:
                return bytes(size)
            data = claimed(self._pread, load.offset + at, min(size, load.filesz - at))
            if not data:
                raise Absent(paddr, "lies behind the end of the file")
            return data
        return None


def read(memory: Memory, paddr: int, size: int) -> bytes:
    """Bytes at a physical address, over page borders. Raises Absent."""
    whole = bytearray()
    while len(whole) < size:
        at = paddr + len(whole)
        inside = at % memory.page_size
        whole += memory.page(at)[inside : inside + size - len(whole)]
    return bytes(whole)
