"""The page descriptors of a kdump-compressed file, judged as a whole: no loop over single pages.

Source: makedumpfile 1.7.x, diskdump_mod.h, page_desc_t:
u64 offset, u32 size, u32 flags, u64 page_flags.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from operator import add

from receiver.dump.diskdump import COMPRESSIONS, DESCRIPTOR_SIZE
from receiver.dump.pread import Order, Pread, chunks

_STEP = DESCRIPTOR_SIZE << 16  # bytes of the table at once: 65,536 pages

_MOST_FORMS = 1 << 20  # a sound table has a size up to 256 KiB with one of five flags

LEGAL_FLAGS = frozenset({0, *(int(flag) for flag in COMPRESSIONS)})


@dataclass(slots=True)
class Table:
    """What a table of descriptors says, summed up."""

    read: int = 0  # descriptors that the file has room for
    zero: int = 0  # of them were never written: makedumpfile fills the table as it goes
    first: int = sys.maxsize  # offset of the first byte of page data
    end: int = 0  # one past the last byte of page data
    forms: Counter[tuple[int, int]] = field(default_factory=Counter)  # (size, flags) -> pages

    @property
    def written(self) -> int:
        return self.read - self.zero


def scan_untrusted(pread: Pread, offset: int, count: int, order: Order) -> Table:
    """Sum up `count` descriptors at `offset`, or as many as the file has. Raises nothing."""
    table = Table()
    for piece in chunks(pread, offset, count * DESCRIPTOR_SIZE, _STEP):
        usable = len(piece) // DESCRIPTOR_SIZE * DESCRIPTOR_SIZE
        _add(table, piece[:usable], order)
        if len(table.forms) > _MOST_FORMS:
            break  # whatever follows: it is damaged
    return table


def inside_untrusted(pread: Pread, offset: int, count: int, order: Order, limit: int) -> int:
    """How many of these descriptors' pages end before byte `limit` of the file. Raises nothing."""
    inside = 0
    for piece in chunks(pread, offset, count * DESCRIPTOR_SIZE, _STEP):
        usable = len(piece) // DESCRIPTOR_SIZE * DESCRIPTOR_SIZE
        offsets, _, sizes = _columns(piece[:usable], order)
        inside += sum(
            at > 0 and end <= limit for at, end in zip(offsets, map(add, offsets, sizes), strict=True)
        )
    return inside


def _columns(piece: bytes, order: Order) -> tuple[array[int], array[int], array[int]]:
    """Offsets; sizes and flags as one number each; sizes."""
    words, halves = array("Q", piece), array("I", piece)
    if order != sys.byteorder:
        words.byteswap()
        halves.byteswap()
    return words[0::3], words[1::3], halves[2::6]


def _add(table: Table, piece: bytes, order: Order) -> None:
    offsets, forms, sizes = _columns(piece, order)
    table.read += len(offsets)
    zero = offsets.count(0)
    table.zero += zero
    if zero == len(offsets):
        return
    table.first = min(table.first, min(filter(None, offsets)) if zero else min(offsets))
    ends = max(map(add, offsets, sizes))
    table.end = max(table.end, ends)
    written = forms if not zero else (form for form, at in zip(forms, offsets, strict=True) if at)
    low_first = order == "little"
    for form, pages in Counter(written).items():
        low, high = form & 0xFFFFFFFF, form >> 32
        table.forms[(low, high) if low_first else (high, low)] += pages
