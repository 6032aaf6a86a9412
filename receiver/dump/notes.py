"""ELF notes: where VMCOREINFO lies, in ELF cores and in kdump-compressed files alike.

Source: elf(5), Elf32_Nhdr and Elf64_Nhdr are the same three 32-bit words.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from receiver.dump import vmcoreinfo
from receiver.dump.malformed import Malformed
from receiver.dump.pread import CHUNK, PREFIX, Order, Pread, chunks
from receiver.dump.vmcoreinfo import Vmcoreinfo

NT_PRSTATUS = 1
MOST_NOTES = 1 << 17  # of one segment: Linux knows 8,192 CPUs, and a dozen notes each
SEARCHED = 16 << 20  # bytes of a file that are searched for VMCOREINFO
_MOST_FINDS = 64  # of its name, while it is searched for
_NAME = b"VMCOREINFO\0"


@dataclass(frozen=True, slots=True)
class Note:
    """One note; its description may be cut short where the data are."""

    name: bytes
    type: int
    description: memoryview


def parse_untrusted(data: bytes, order: Order) -> Iterator[Note]:
    """The notes in a segment's bytes. Ends where they end or stop making sense; raises nothing."""
    header = struct.Struct(PREFIX[order] + "III")
    view = memoryview(data)
    position = 0
    for _ in range(MOST_NOTES):
        if position + header.size > len(view):
            break
        name_size, size, type_ = header.unpack_from(view, position)
        position += header.size
        if name_size == size == type_ == 0:
            continue  # padding between the CPUs' notes
        name = bytes(view[position : position + name_size]).rstrip(b"\0") if name_size <= 64 else b""
        position += _align(name_size)
        yield Note(name, type_, view[position : position + size])
        position += _align(size)


def search_untrusted(pread: Pread, offset: int, size: int) -> Vmcoreinfo | None:
    """VMCOREINFO by its note header, in either byte order, where no table says its place.

    A file that is still arriving may not have its tables yet, but the note
    comes first; so the first `SEARCHED` bytes of the range are looked through.
    """
    base, kept, finds = offset, b"", 0
    for piece in chunks(pread, offset, min(size, SEARCHED), CHUNK):
        window = kept + piece
        found = window.find(_NAME)
        while found >= 0 and finds < _MOST_FINDS:
            finds += 1
            info = _at(pread, base - len(kept) + found)
            if info:
                return info
            found = window.find(_NAME, found + 1)
        base += len(piece)
        kept = window[1 - len(_NAME) :]
    return None


def _at(pread: Pread, name_offset: int) -> Vmcoreinfo | None:
    header = pread(name_offset - 12, 12) if name_offset >= 12 else b""
    if len(header) < 12:
        return None
    for prefix in PREFIX.values():
        name_size, size, type_ = struct.unpack(prefix + "III", header)
        if name_size in (len(_NAME), len(_NAME) - 1) and type_ == 0 and 0 < size <= vmcoreinfo.LARGEST:
            try:
                return vmcoreinfo.parse_untrusted(pread(name_offset + _align(name_size), size))
            except Malformed:
                return None
    return None


def _align(size: int) -> int:
    return (size + 3) & ~3
