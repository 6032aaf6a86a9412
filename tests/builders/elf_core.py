"""ELF cores, written: the inverse of ``receiver.dump.elf``; elf(5), and makedumpfile 1.7.x for the order."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.builders.kdump import Order, note

PT_NULL, PT_LOAD, PT_NOTE = 0, 1, 4


@dataclass
class Load:
    """One stretch of memory."""

    paddr: int
    data: bytes
    vaddr: int = 0
    memsz: int | None = None  # more than the data: the rest was filtered out
    type: int = PT_LOAD


@dataclass
class ElfCore:
    """One file to be."""

    loads: Sequence[Load]
    order: Order = "little"
    word_size: int = 8
    machine: int = 62
    vmcoreinfo: bytes = b""
    prstatus: int = 1  # CPUs
    flags: int = 0
    ehsize: int | None = None
    extended: bool = False  # count the program headers in the first section header (PN_XNUM)
    _sizes: tuple[int, int, int] = field(init=False, default=(64, 56, 64))

    def __post_init__(self) -> None:
        self._prefix = "<" if self.order == "little" else ">"
        if self.word_size == 4:
            self._sizes = (52, 32, 40)

    def writes(self) -> list[tuple[int, bytes]]:
        """As ``makedumpfile -E -F`` writes: ELF header, notes, memory, and the program headers last."""
        header, phdr, section = self._sizes
        notes = b"".join(note(b"CORE", 1, bytes(336), self.order) for _ in range(self.prstatus))
        if self.vmcoreinfo:
            notes += note(b"VMCOREINFO", 0, self.vmcoreinfo, self.order)
        count = len(self.loads) + 1
        sections_at = header + count * phdr if self.extended else 0
        at = header + count * phdr + (section if self.extended else 0)
        found = [(0, self._header(count, sections_at)), (at, notes)]
        table = [self._phdr(PT_NOTE, at, 0, 0, len(notes), len(notes))]
        at += len(notes)
        for load in self.loads:
            if load.data:
                found.append((at, load.data))
            memsz = load.memsz if load.memsz is not None else len(load.data)
            table.append(self._phdr(load.type, at, load.vaddr, load.paddr, len(load.data), memsz))
            at += len(load.data)
        found.append((header, b"".join(table)))
        if self.extended:
            count_at = {8: 44, 4: 28}[self.word_size]
            row = bytearray(section)
            struct.pack_into(self._prefix + "I", row, count_at, count)
            found.append((sections_at, bytes(row)))
        return found

    def build(self) -> bytes:
        """The file."""
        writes = self.writes()
        whole = bytearray(max(offset + len(data) for offset, data in writes))
        for offset, data in writes:
            whole[offset : offset + len(data)] = data
        return bytes(whole)

    def _header(self, count: int, sections_at: int) -> bytes:
        header, phdr, section = self._sizes
        ident = b"\x7fELF" + bytes((self.word_size // 4, 1 if self.order == "little" else 2, 1)).ljust(
            12, b"\0"
        )
        layout = "HHIQQQIHHHHHH" if self.word_size == 8 else "HHIIIIIHHHHHH"
        size = header if self.ehsize is None else self.ehsize
        phnum = 0xFFFF if self.extended else count
        tail = (size, phdr, phnum, section, int(self.extended), 0)
        fields = (4, self.machine, 1, 0, header, sections_at, self.flags)
        return ident + struct.pack(self._prefix + layout, *fields, *tail)

    def _phdr(self, type_: int, offset: int, vaddr: int, paddr: int, filesz: int, memsz: int) -> bytes:
        if self.word_size == 8:
            return struct.pack(self._prefix + "IIQQQQQQ", type_, 7, offset, vaddr, paddr, filesz, memsz, 0)
        return struct.pack(self._prefix + "IIIIIIII", type_, offset, vaddr, paddr, filesz, memsz, 7, 0)
