"""From the crashed kernel's virtual addresses to physical ones.

The kernel's own image is mapped with a constant offset, so what lies in it is found
without page tables; libkdumpfile and drgn start with the tables, which lie high in
RAM and are the first to be missing when a dump breaks off. Other addresses are
walked through the tables.

Sources: makedumpfile 1.7.x, arch/x86_64.c, arch/arm64.c, arch/ppc64.c, arch/riscv64.c;
Linux, Documentation/arch/x86/x86_64/mm.rst, Documentation/arch/arm64/memory.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from receiver.dump import pages
from receiver.dump.malformed import Malformed
from receiver.dump.pages import Absent, ElfMemory, KdumpMemory, Memory
from receiver.dump.pread import PREFIX
from receiver.dump.vmcoreinfo import Vmcoreinfo

MASK = (1 << 64) - 1
_MOST_SEGMENTS = 1024  # that an address is looked up in, one after another


class Unmapped(Malformed):
    """No way leads from this virtual address to a physical one."""

    def __init__(self, vaddr: int, why: str) -> None:
        super().__init__(f"virtual address {vaddr:#x} {why}")


@dataclass(frozen=True, slots=True)
class Linear:
    """Virtual addresses from `start` up to `end` lie at a constant distance from the physical ones."""

    start: int
    end: int
    paddr: int  # of `start`; modulo 2^64

    def translate(self, vaddr: int) -> int | None:
        if self.start <= vaddr < self.end:
            return (vaddr - self.start + self.paddr) & MASK
        return None


@dataclass(frozen=True, slots=True)
class Tables:
    """A radix tree of page tables."""

    root: int  # physical address
    page_bits: int  # of the offset in a page
    shifts: tuple[int, ...]  # lowest bit of the index at each level, from the root
    top_entries: int  # of the root table
    is_block: Callable[[int, int], bool]  # (entry, shift) -> it maps memory, not a further table
    address: Callable[[int], int]  # entry -> physical address, with the low bits of the entry in it

    def walk(self, memory: Memory, vaddr: int) -> int:
        """Raises Unmapped, or Absent where a table is not in the dump."""
        table = self.root
        entries = self.top_entries
        for shift in self.shifts:
            at = table + (vaddr >> shift) % entries * 8
            (entry,) = struct.unpack(PREFIX[memory.order] + "Q", pages.read(memory, at, 8))
            if not entry & 1:
                raise Unmapped(vaddr, "is not mapped")
            if shift == self.page_bits or self.is_block(entry, shift):
                offset = (1 << shift) - 1
                return self.address(entry) & ~offset | vaddr & offset
            table = self.address(entry) >> self.page_bits << self.page_bits
            entries = 1 << (self.page_bits - 3)
        raise Unmapped(vaddr, "is mapped by no table")  # pragma: no cover - the last shift is page_bits


class Translator:
    """All ways that a dump offers: constant offsets first, then tables, a guess where those are missing."""

    def __init__(
        self, memory: Memory, linear: tuple[Linear, ...], tables: Tables | None, guessed: tuple[Linear, ...]
    ) -> None:
        self._memory = memory
        self._linear = linear
        self._tables = tables
        self._guessed = guessed

    def paddr(self, vaddr: int) -> int:
        """Raises Unmapped or Absent."""
        for linear in self._linear:
            found = linear.translate(vaddr)
            if found is not None:
                return found
        failure: Malformed = Unmapped(vaddr, "is in no known range")
        if self._tables:
            try:
                return self._tables.walk(self._memory, vaddr)
            except Absent as error:
                failure = error
        for linear in self._guessed:
            found = linear.translate(vaddr)
            if found is not None:
                return found
        raise failure


def translator_untrusted(
    memory: KdumpMemory | ElfMemory, info: Vmcoreinfo, architecture: str | None
) -> Translator:
    """The ways of this dump; `architecture` as ``uname -m`` says it. Raises nothing."""
    from_segments = _segments(memory)
    match architecture or info.architecture:
        case "x86_64":
            return _x86_64(memory, info, from_segments)
        case "aarch64":
            return _aarch64(memory, info, from_segments)
        case "ppc64" | "ppc64le":
            return Translator(memory, (Linear(0xC << 60, 0xD << 60, 0),), None, from_segments)
        case "s390x":
            return Translator(memory, from_segments, None, (Linear(0, MASK, 0),))
        case "riscv64":
            return Translator(memory, _riscv64(info), None, from_segments)
        case "i386" | "i486" | "i586" | "i686":
            return Translator(memory, (Linear(0xC0000000, 0xF8000000, 0),), None, from_segments)
        case str(machine) if machine.startswith("arm"):
            base = memory.header.sub.phys_base if isinstance(memory, KdumpMemory) and memory.header.sub else 0
            return Translator(memory, (), None, (*from_segments, Linear(0xC0000000, 0xF0000000, base)))
    return Translator(memory, from_segments, None, ())


# x86-64 ---------------------------------------------------------------------------------------------------

_START_KERNEL_MAP = 0xFFFFFFFF80000000
_MODULES = 0xFFFFFFFFC0000000
_X86_ADDRESS = 0x000FFFFFFFFFFFFF
_X86_PSE = 0x80
# Where the direct map begins without KASLR: Linux 4.20 and later with 4 levels, with 5, and before 4.20.
_X86_DIRECT = ((0xFFFF888000000000, 1 << 46), (0xFF11000000000000, 1 << 52), (0xFFFF880000000000, 1 << 46))


def _x86_64(memory: KdumpMemory | ElfMemory, info: Vmcoreinfo, segments: tuple[Linear, ...]) -> Translator:
    base = _x86_phys_base(memory, info)
    size = info.number("KERNEL_IMAGE_SIZE") or _MODULES - _START_KERNEL_MAP
    image = Linear(_START_KERNEL_MAP, _START_KERNEL_MAP + min(size, 1 << 31), base & MASK)
    top = info.symbol("init_top_pgt") or info.symbol("init_level4_pgt") or info.symbol("swapper_pg_dir")
    root = image.translate(top) if top else None
    shifts = (48, 39, 30, 21, 12) if info.number("pgtable_l5_enabled") else (39, 30, 21, 12)
    mask = _X86_ADDRESS & ~(info.number("sme_mask") or 0)
    tables = None
    if root is not None:
        tables = Tables(
            root=root,
            page_bits=12,
            shifts=shifts,
            top_entries=512,
            is_block=lambda entry, shift: bool(entry & _X86_PSE) and shift in (30, 21),
            address=lambda entry: entry & mask,
        )
    direct = () if info.kernel_offset else tuple(Linear(at, at + size, 0) for at, size in _X86_DIRECT)
    return Translator(memory, (image,), tables, (*segments, *direct))


def _x86_phys_base(memory: KdumpMemory | ElfMemory, info: Vmcoreinfo) -> int:
    """VMCOREINFO's (Linux 4.10 and later), else the headers': QEMU writes a wrong one into the sub header."""
    said = info.number("phys_base")
    if said is not None:
        return said
    if isinstance(memory, KdumpMemory):
        return memory.header.sub.phys_base if memory.header.sub else 0
    for load in memory.core.loads:
        if _START_KERNEL_MAP <= load.vaddr < _MODULES:
            return load.paddr - (load.vaddr - _START_KERNEL_MAP)
    return 0


# aarch64 --------------------------------------------------------------------------------------------------

_IMAGE_REACH = 256 << 20  # bytes around _stext that are taken for the kernel's image
_ARM_ADDRESS = 0x0000FFFFFFFFF000


def _aarch64(memory: KdumpMemory | ElfMemory, info: Vmcoreinfo, segments: tuple[Linear, ...]) -> Translator:
    linear: list[Linear] = []
    offset = info.number("kimage_voffset")
    text = info.symbol("_stext") or info.symbol("swapper_pg_dir")
    if offset is not None and text is not None:
        start = max(0, text - _IMAGE_REACH)
        linear.append(Linear(start, text + _IMAGE_REACH, start - offset & MASK))
    bits = info.number("VA_BITS")
    phys_offset = info.number("PHYS_OFFSET")
    if bits and 36 <= bits <= 52 and phys_offset is not None and text is not None:
        # Linux 5.4 moved the linear map from the upper half of the kernel's addresses to the lower.
        half = 1 << (bits - 1)
        flipped = bool(text & half)
        start = (-2 * half if flipped else -half) & MASK
        linear.append(Linear(start, start + half, phys_offset & MASK))
    return Translator(memory, tuple(linear), _aarch64_tables(memory, info, linear), segments)


def _aarch64_tables(memory: KdumpMemory | ElfMemory, info: Vmcoreinfo, linear: list[Linear]) -> Tables | None:
    top = info.symbol("swapper_pg_dir")
    root = next((found for way in linear if top and (found := way.translate(top)) is not None), None)
    size = info.page_size or memory.page_size
    page_bits = size.bit_length() - 1
    bits, used = info.number("VA_BITS"), info.number("TCR_EL1_T1SZ")
    if used and page_bits != 16:  # with 64K pages the root table keeps its configured size
        bits = 64 - used
    if root is None or page_bits not in (12, 14, 16) or not bits or not 36 <= bits <= 52:
        return None
    step = page_bits - 3
    shifts = tuple(range(page_bits, bits, step))[::-1]
    wide = info.number("VA_BITS") == 52

    def address(entry: int) -> int:
        found = entry & _ARM_ADDRESS & ~(size - 1)
        if wide and page_bits == 16:  # LPA: bits 12 to 15 hold bits 48 to 51
            found |= (entry >> 12 & 0xF) << 48
        elif wide:  # LPA2: bits 8 and 9 hold bits 50 and 51, bits 48 and 49 are in place
            found |= entry & 3 << 48 | (entry >> 8 & 3) << 50
        return found

    return Tables(
        root=root,
        page_bits=page_bits,
        shifts=shifts,
        top_entries=1 << (bits - shifts[0]),
        is_block=lambda entry, shift: not entry & 2,
        address=address,
    )


# others ---------------------------------------------------------------------------------------------------


def _riscv64(info: Vmcoreinfo) -> tuple[Linear, ...]:
    """Linux 5.19 and later say all that is needed."""
    found = []
    ram, direct = info.number("phys_ram_base"), info.number("PAGE_OFFSET")
    image, distance = info.number("KERNEL_LINK_ADDR"), info.number("va_kernel_pa_offset")
    if image is not None and distance is not None:
        found.append(Linear(image, MASK, image - distance & MASK))
    if ram is not None and direct is not None:
        found.append(Linear(direct & MASK, image if image and image > direct else MASK, ram))
    return tuple(found)


def _segments(memory: KdumpMemory | ElfMemory) -> tuple[Linear, ...]:
    """What the program headers of an ELF core say; kexec fills in the direct map."""
    if not isinstance(memory, ElfMemory):
        return ()
    loads = (load for load in islice(memory.core.loads, _MOST_SEGMENTS) if load.vaddr)
    return tuple(Linear(load.vaddr, load.vaddr + load.memsz, load.paddr) for load in loads)
