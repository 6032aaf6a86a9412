"""VMCOREINFO: what the crashed kernel says of itself, and the layouts needed to read its log.

Source: Linux, Documentation/admin-guide/kdump/vmcoreinfo.rst; kexec-tools 2.0.26,
util_lib/elf_info.c (the last line may lack its newline, values may hold "=").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from receiver.dump.malformed import Malformed

LARGEST = 1 << 20  # bytes; the kernel makes one page of it (VMCOREINFO_BYTES), 64 KiB at most
MOST_LINES = 8192

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}\Z")
_DECIMAL = re.compile(r"-?[0-9]{1,20}\Z")
_HEX = re.compile(r"(0[xX])?[0-9a-fA-F]{1,16}\Z")


@dataclass(frozen=True)
class Vmcoreinfo:
    """The lines, and typed access to them: None where the line is missing or says nothing sensible."""

    values: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def osrelease(self) -> str | None:
        return self.values.get("OSRELEASE") or None

    @property
    def build_id(self) -> str | None:
        """Lower-case hexadecimal; kernels since 5.9 say it."""
        text = self.values.get("BUILD-ID", "").lower()
        return text if _BUILD_ID.match(text) else None

    @property
    def crash_time(self) -> int | None:
        """Seconds since the epoch; missing in dumps that a hypervisor made."""
        return _decimal(self.values.get("CRASHTIME")) or None

    @property
    def page_size(self) -> int | None:
        size = _decimal(self.values.get("PAGESIZE"))
        return size if size and size & (size - 1) == 0 and 1 << 12 <= size <= 1 << 18 else None

    @property
    def kernel_offset(self) -> int | None:
        """How far KASLR moved the kernel, bytes."""
        return _hex(self.values.get("KERNELOFFSET"))

    def symbol(self, name: str) -> int | None:
        """Run-time virtual address."""
        return _hex(self.values.get(f"SYMBOL({name})"))

    def number(self, name: str) -> int | None:
        """Decimal, maybe negative; arm64 writes some as 0x…."""
        text = self.values.get(f"NUMBER({name})")
        return _hex(text) if text and text[:2].lower() == "0x" else _decimal(text)

    def offset(self, member: str) -> int | None:
        """Of a structure's member, as in ``offset("prb_desc.state_var")``, bytes."""
        return _decimal(self.values.get(f"OFFSET({member})"))

    def size(self, name: str) -> int | None:
        """Of a structure, bytes."""
        return _decimal(self.values.get(f"SIZE({name})"))

    def length(self, name: str) -> int | None:
        """Of an array, elements."""
        return _decimal(self.values.get(f"LENGTH({name})"))

    @cached_property
    def architecture(self) -> str | None:
        """As ``uname -m`` says it, told by lines that only one architecture writes."""
        for machine, marks in _MARKS:
            if any(mark in self.values for mark in marks):
                return machine
        return None


# Source: arch/*/kernel/{vmcore_info,crash_core,machine_kexec*}.c, arch_crash_save_vmcoreinfo(), Linux 6.12.
_MARKS = (
    ("aarch64", ("NUMBER(kimage_voffset)",)),
    ("riscv64", ("NUMBER(phys_ram_base)", "NUMBER(satp)")),
    ("x86_64", ("NUMBER(phys_base)", "SYMBOL(init_top_pgt)", "SYMBOL(init_level4_pgt)")),
    ("s390x", ("SYMBOL(lowcore_ptr)", "NUMBER(SDMA)")),
    ("ppc64", ("SYMBOL(vmemmap_list)", "SYMBOL(mmu_vmemmap_psize)")),
    ("i686", ("CONFIG_X86_PAE",)),
)


def parse_untrusted(data: bytes) -> Vmcoreinfo:
    """Read the text of the note.

    Raises:
        Malformed: it is too long to be one, or holds no line ``key=value``.
    """
    if len(data) > LARGEST:
        raise Malformed(f"VMCOREINFO claims {len(data)} bytes; {LARGEST} are believed")
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace")
    values: dict[str, str] = {}
    for line in text.split("\n", MOST_LINES)[:MOST_LINES]:
        key, equals, value = line.partition("=")
        if equals and key:
            values.setdefault(key, value)
    if not values:
        raise Malformed("VMCOREINFO holds no line of the form key=value")
    return Vmcoreinfo(MappingProxyType(values))


def _decimal(text: str | None) -> int | None:
    return int(text) if text and _DECIMAL.match(text) else None


def _hex(text: str | None) -> int | None:
    return int(text, 16) if text and _HEX.match(text) else None
