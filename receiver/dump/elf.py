"""ELF cores, as /proc/vmcore and makedumpfile -E write them; 32 and 64 bit, both byte orders.

Source: elf(5); makedumpfile 1.7.x: e_flags bit 0 marks an incomplete dump
(DUMP_ELF_INCOMPLETE), missing segments become PT_NULL, and a count beyond 0xfffe
lies in the first section header (PN_XNUM). QEMU 7.2 writes e_ehsize = 8, so that
field is not believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from receiver.dump import notes
from receiver.dump.kind import ELF_ORDERS, ET_CORE
from receiver.dump.malformed import Malformed
from receiver.dump.notes import Note
from receiver.dump.pread import PREFIX, Order, Pread, claimed, exactly
from receiver.dump.vmcoreinfo import Vmcoreinfo
from receiver.dump.vmcoreinfo import parse_untrusted as parse_vmcoreinfo

PT_NULL, PT_LOAD, PT_NOTE = 0, 1, 4
PN_XNUM = 0xFFFF
INCOMPLETE = 0x1  # e_flags

MOST_SEGMENTS = 1 << 17
LARGEST_NOTES = 64 << 20  # bytes, of all note segments; some 4 KiB a CPU

MACHINES = {
    3: "i686",
    8: "mips64",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    43: "sparc64",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}

_EHDR = {8: "HHIQQQIHHHHHH", 4: "HHIIIIIHHHHHH"}  # after e_ident
_PHDR = {8: "IIQQQQQQ", 4: "IIIIIIII"}
_SH_INFO = {8: (44, 64), 4: (28, 40)}  # offset of sh_info, size of a section header


class Segment(NamedTuple):
    """One program header."""

    type: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int


@dataclass(frozen=True, slots=True)
class Elf:
    """The headers of one core file."""

    order: Order
    word_size: int  # bytes
    machine: int
    flags: int
    promised: int  # program headers that the ELF header speaks of
    segments: tuple[Segment, ...]  # empty while they have not arrived: flattened streams send them last
    headers_end: int  # bytes

    @property
    def architecture(self) -> str | None:
        """As ``uname -m`` says it."""
        name = MACHINES.get(self.machine)
        return "ppc64le" if name == "ppc64" and self.order == "little" else name

    @property
    def incomplete(self) -> bool:
        """makedumpfile itself says that it could not write everything."""
        return bool(self.flags & INCOMPLETE)

    @property
    def loads(self) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.type == PT_LOAD)

    @property
    def expected_size(self) -> int | None:
        """Bytes that the file must have to hold every segment; None while the segments are not known."""
        if not self.segments:
            return None
        ends = [segment.offset + segment.filesz for segment in self.segments if segment.type != PT_NULL]
        return max(self.headers_end, max(ends, default=0))


def parse_untrusted(pread: Pread) -> Elf:
    """Read the ELF header, and the program headers where they are in.

    Raises:
        Malformed: no ELF core, or one that contradicts itself.
    """
    ident = pread(0, 64)
    if ident[:4] != b"\x7fELF" or len(ident) < 52:
        raise Malformed("no ELF file: the header is missing or cut short")
    order = ELF_ORDERS.get(ident[5])
    word = {1: 4, 2: 8}.get(ident[4])
    if order is None or word is None:
        raise Malformed(f"ELF class {ident[4]} and byte order {ident[5]} are not known")
    layout = struct.Struct(PREFIX[order] + _EHDR[word])
    if len(ident) < 16 + layout.size:
        raise Malformed("the ELF header is cut short")
    type_, machine, _, _, phoff, shoff, flags, _, phentsize, phnum, _, _, _ = layout.unpack_from(ident, 16)
    if type_ != ET_CORE:
        raise Malformed(f"ELF type {type_} is no core file")
    phdr = struct.Struct(PREFIX[order] + _PHDR[word])
    if phnum and phentsize != phdr.size:
        raise Malformed(f"program headers of {phentsize} bytes, where this class has {phdr.size}")
    if phnum == PN_XNUM:
        phnum = _extended_count(pread, order, word, shoff)
    if phnum > MOST_SEGMENTS:
        raise Malformed(f"{phnum} program headers are claimed; {MOST_SEGMENTS} are believed")
    raw = claimed(pread, phoff, phnum * phdr.size) if phoff else b""
    whole = len(raw) == phnum * phdr.size and any(raw)
    return Elf(
        order=order,
        word_size=word,
        machine=machine,
        flags=flags,
        promised=phnum,
        segments=tuple(_segment(fields, word) for fields in phdr.iter_unpack(raw)) if whole else (),
        headers_end=phoff + phnum * phdr.size,
    )


def notes_untrusted(pread: Pread, elf: Elf) -> Iterator[Note]:
    """The notes of all PT_NOTE segments, as far as they are in the file. Raises nothing."""
    left = LARGEST_NOTES
    for segment in elf.segments:
        if segment.type == PT_NOTE and left > 0:
            size = min(segment.filesz, left)
            left -= max(size, 4096)
            yield from notes.parse_untrusted(claimed(pread, segment.offset, size), elf.order)


def vmcoreinfo_untrusted(pread: Pread, elf: Elf) -> Vmcoreinfo | None:
    """VMCOREINFO from its note; searched for at the file's start while the headers have not arrived."""
    for note in notes_untrusted(pread, elf):
        if note.name == b"VMCOREINFO" and note.type == 0:
            try:
                return parse_vmcoreinfo(bytes(note.description))
            except Malformed:
                break
    return notes.search_untrusted(pread, 0, notes.SEARCHED)


def _extended_count(pread: Pread, order: Order, word: int, shoff: int) -> int:
    at, size = _SH_INFO[word]
    section = (
        exactly(pread, shoff, size, "the section header that counts the program headers") if shoff else b""
    )
    if not any(section):
        return 0  # of a flattened stream, whose headers come last
    (count,) = struct.unpack_from(PREFIX[order] + "I", section, at)
    return int(count)


def _segment(fields: tuple[int, ...], word: int) -> Segment:
    if word == 8:
        type_, _, offset, vaddr, paddr, filesz, memsz, _ = fields
    else:
        type_, offset, vaddr, paddr, filesz, memsz, _, _ = fields
    return Segment(type_, offset, vaddr, paddr, filesz, memsz)
