"""A large vmcore for the benchmarks: valid, flattened in makedumpfile's order, its pages random."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
FLUSH = 64 << 10  # bytes of page data of one record, as makedumpfile's cache flushes them
DESC = struct.Struct("<QIIQ")


def write(path: Path, mebibytes: int) -> None:
    """Write a flattened kdump-compressed stream of about that size; its pages are stored raw."""
    with path.open("wb") as out:
        out.write(b"makedumpfile\0\0\0\0" + struct.pack(">qq", 1, 1) + bytes(4064))
        for offset, data in records(mebibytes << 8):
            out.write(struct.pack(">qq", offset, len(data)))
            out.write(data)
        out.write(b"\xff" * 16)


def records(pages: int) -> Iterator[tuple[int, bytes]]:
    """The writes of makedumpfile: headers, bitmaps, then descriptors and data by turns."""
    bitmap_blocks = 2 * -(-pages // 8 // PAGE)
    notes = _vmcoreinfo()
    header = bytearray(464)
    header[0:8] = b"KDUMP   "
    struct.pack_into("<i", header, 8, 6)
    header[12 : 12 + 5] = b"Linux"
    struct.pack_into("<qq", header, 408, 1_770_000_000, 0)
    struct.pack_into("<IiIIIIIIii", header, 424, 1, PAGE, 2, bitmap_blocks, pages, pages, 0, 0, 0, 2)
    sub = bytearray(104)
    struct.pack_into("<q", sub, 0, 0)
    struct.pack_into("<i", sub, 8, 31)
    struct.pack_into("<QQQQ", sub, 32, PAGE + 104 + 24, len(notes) - 24, PAGE + 104, len(notes))
    struct.pack_into("<QQQ", sub, 80, 0, pages, pages)
    yield 0, bytes(header)
    yield PAGE + 104, notes
    yield PAGE, bytes(sub)
    bits = (b"\xff" * (pages // 8)).ljust(bitmap_blocks // 2 * PAGE, b"\0")
    for at in range(0, bitmap_blocks * PAGE, PAGE):
        yield 3 * PAGE + at, (bits + bits)[at : at + PAGE]
    table = (3 + bitmap_blocks) * PAGE
    data = table + pages * DESC.size
    pool = random.Random(7).randbytes(4 << 20)
    step = FLUSH // PAGE
    for first in range(0, pages, step):
        count = min(step, pages - first)
        descs = b"".join(DESC.pack(data + (first + n) * PAGE, PAGE, 0, 0) for n in range(count))
        yield table + first * DESC.size, descs
        start = (first * 4099) % (len(pool) - FLUSH)
        yield data + first * PAGE, pool[start : start + count * PAGE]


def _vmcoreinfo() -> bytes:
    text = b"OSRELEASE=6.1.0-bench\nPAGESIZE=4096\nCRASHTIME=1770000000\n"
    padded = text + bytes(-len(text) % 4)
    return struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + padded


def cached(directory: Path, mebibytes: int) -> Path:
    """The stream of that size in `directory`, made once."""
    path = directory / f"stream-{mebibytes}.flat"
    if not path.exists():
        aside = path.with_suffix(".part")
        write(aside, mebibytes)
        os.rename(aside, path)
    return path
