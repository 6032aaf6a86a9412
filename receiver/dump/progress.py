"""How far a dump has come while it arrives, counted in its own pages.

A kdump-compressed dump says in its second bitmap how many pages will come, and
makedumpfile writes one descriptor with each of them, so the descriptors seen are
exact progress whatever the compression does to the bytes. In cyclic mode the bitmap
comes in pieces, but the first page's data already lie right behind the whole table,
which tells its length.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from receiver.dump import bitmap, descriptors, diskdump, elf
from receiver.dump.diskdump import DESCRIPTOR_SIZE, Header
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread

_ELF_PAGE = 4096  # bytes; ELF cores do not count in pages, people do
_LAST = 1 << 16  # descriptors at the table's end that tell where the file will end
_MOST_PENDING = 1 << 17  # writes kept before the headers are in; a dump has some hundreds


@dataclass(frozen=True, slots=True)
class Estimate:
    """Pages so far and in all. `exact`: the total is what the dump says, not what its layout suggests."""

    done_pages: int = 0
    total_pages: int | None = None
    fraction: float | None = None  # 0 to 1
    exact: bool = False


class Progress:
    """Fed with every write of one growing file, in order, from its first on."""

    __slots__ = (
        "_bitmap_seen",
        "_core",
        "_data",
        "_end",
        "_expected_end",
        "_header",
        "_pending",
        "_table",
        "_table_end",
        "_total",
    )

    def __init__(self) -> None:
        self._pending: list[tuple[int, int]] = []
        self._end = 0  # furthest byte written, plus one
        self._header: Header | None = None
        self._core: elf.Elf | None = None
        self._bitmap_seen = 0  # bytes of bitmap 2 written; makedumpfile writes each once, in order
        self._table = sys.maxsize  # where the descriptors begin
        self._table_end = sys.maxsize  # where the next of them is due
        self._data = sys.maxsize  # where page data begin: the lowest write behind the table
        self._total: int | None = None  # counted once bitmap 2 is whole
        self._expected_end: int | None = None  # of the file, once its last descriptors are in

    def observe(self, offset: int, size: int) -> None:
        """`size` bytes were written at `offset`."""
        self.observe_many(((offset, size),))

    def observe_many(self, writes: Iterable[tuple[int, int]]) -> None:
        """These were written: (offset, size) each, bytes."""
        header = self._header
        if header is None and self._core is None:
            self._pending.extend(writes)
            if len(self._pending) > _MOST_PENDING:
                self._forget()
            return
        if header is None:
            self._end = max(self._end, *(offset + size for offset, size in writes), 0)
            return
        due, data, end = self._table_end, self._data, self._end
        for offset, size in writes:
            if offset == due:
                due += size
            elif offset > due:
                data = min(data, offset)
            elif offset < self._table:
                self._before_table(offset, size, header)
                if offset + size > due:  # the same write holds the first descriptors, too
                    due = offset + size
            end = max(end, offset + size)
        self._table_end, self._data, self._end = due, data, end

    def estimate(self, pread: Pread) -> Estimate:
        """What is known by now. Raises nothing."""
        try:
            if self._header is None and (self._core is None or not self._core.segments):
                self._identify(pread)
            if self._header is not None:
                return self._of_kdump(pread, self._header)
        except Malformed:
            return Estimate()
        return self._of_elf(self._core) if self._core else Estimate()

    def _identify(self, pread: Pread) -> None:
        match sniff_untrusted(pread(0, 64)):
            case Kind.KDUMP:
                header = diskdump.parse_untrusted(pread)
                if header.sub is None and header.version:
                    return  # the sub header corrects the page count: wait for it
                self._header = header
                self._table = self._table_end = header.descriptors_offset
                pending, self._pending = self._pending, []
                self.observe_many(pending)
            case Kind.ELF:
                self._core = elf.parse_untrusted(pread)
                self._forget()

    def _forget(self) -> None:
        self._end = max(self._end, *(offset + size for offset, size in self._pending), 0)
        self._pending.clear()

    def _before_table(self, offset: int, size: int, header: Header) -> None:
        region = header.bitmap2
        start, end = max(offset, region.offset), min(offset + size, region.end)
        if start < end:
            self._bitmap_seen += end - start

    def _of_kdump(self, pread: Pread, header: Header) -> Estimate:
        first, end = header.pfn_range
        needed = min(header.bitmap2.size, (header.max_mapnr + 7) // 8)
        if self._total is None and self._bitmap_seen >= needed:
            self._total = bitmap.popcount(pread, header.bitmap2.offset, first, end)
        total = self._total
        if total is None and self._data < sys.maxsize:
            total = (self._data - self._table) // DESCRIPTOR_SIZE
        done = (self._table_end - self._table) // DESCRIPTOR_SIZE
        if not total:
            return Estimate(done)
        fraction = min(done, total) / total
        if done >= total:
            fraction = self._by_bytes(pread, header, total)
        return Estimate(round(fraction * total), total, fraction, exact=self._total is not None)

    def _by_bytes(self, pread: Pread, header: Header, total: int) -> float:
        """The fraction where the whole table came before the pages, as in a file that is not flattened."""
        data = self._table + total * DESCRIPTOR_SIZE
        if self._expected_end is None:
            last = min(total, _LAST)  # pages are written in order: the furthest is one of the last
            place = data - last * DESCRIPTOR_SIZE
            self._expected_end = descriptors.scan_untrusted(pread, place, last, header.order).end
        if self._expected_end <= data:
            return 1.0
        return min(1.0, max(0.0, (self._end - data) / (self._expected_end - data)))

    def _of_elf(self, core: elf.Elf) -> Estimate:
        done = self._end
        expected = core.expected_size
        if not expected:
            return Estimate(done // _ELF_PAGE)
        total, done = max(1, expected // _ELF_PAGE), min(done, expected)
        return Estimate(done // _ELF_PAGE, total, done / expected, exact=True)
