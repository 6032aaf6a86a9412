"""Where each processor was when the kernel crashed, by the NT_PRSTATUS notes of the dump.

Source: Linux, include/linux/elfcore.h (``struct elf_prstatus``: the registers begin after
112 bytes on 64-bit machines); the order of the registers is each machine's ``user_regs_struct``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from receiver.dump import diskdump, elf, notes
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Order, Pread

REGISTERS: Final = 112  # bytes of elf_prstatus before pr_reg
PROGRAM_COUNTER: Final = {"x86_64": 16, "aarch64": 32}  # its place among the registers
NOTES_MAX: Final = 16 << 20  # bytes


def program_counters(pread: Pread) -> Iterator[int]:
    """One address a processor; none where the machine or the notes are not understood."""
    try:
        for note, architecture, order in _notes_untrusted(pread):
            place = PROGRAM_COUNTER.get(architecture)
            if note.type == notes.NT_PRSTATUS and note.name == b"CORE" and place is not None:
                at = REGISTERS + 8 * place
                if len(note.description) >= at + 8:
                    yield int.from_bytes(note.description[at : at + 8], order)
    except Malformed:
        return


def _notes_untrusted(pread: Pread) -> Iterator[tuple[notes.Note, str, Order]]:
    if sniff_untrusted(pread(0, 4096)) is Kind.ELF:
        core = elf.parse_untrusted(pread)
        for note in elf.notes_untrusted(pread, core):
            yield note, core.architecture or "", core.order
        return
    header = diskdump.parse_untrusted(pread)
    if header.sub is not None:
        data = pread(header.sub.notes.offset, min(header.sub.notes.size, NOTES_MAX))
        for note in notes.parse_untrusted(data, header.order):
            yield note, header.utsname.machine, header.order
