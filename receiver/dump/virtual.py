"""The crashed kernel's memory by virtual address, with holes where pages are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from receiver.dump import anchor, diskdump, elf
from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pages import ElfMemory, KdumpMemory
from receiver.dump.pread import Order, Pread
from receiver.dump.translate import Linear, Translator, translator_untrusted
from receiver.dump.vmcoreinfo import Vmcoreinfo

_KEPT_BYTES = 16 << 20  # of a region


class Virtual:
    """Reads by virtual address."""

    def __init__(self, memory: KdumpMemory | ElfMemory, translator: Translator) -> None:
        self._memory = memory
        self._translator = translator
        self.order: Order = memory.order
        self.word_size = memory.word_size
        self.page_size = memory.page_size

    def page(self, vaddr: int) -> bytes:
        """The page that holds this address. Raises Malformed where it is missing or not mapped."""
        return self._memory.page(self._translator.paddr(vaddr))

    def read(self, vaddr: int, size: int) -> bytes:
        """Raises Malformed where a page is missing or not mapped."""
        region = Region(self, vaddr, size)
        data = region.slice(0, size)
        if data is None:
            raise region.failure or Malformed(f"virtual address {vaddr:#x} cannot be read")
        return data

    def integer(self, vaddr: int, size: int, *, signed: bool = False) -> int:
        """Raises Malformed where its page is missing or not mapped."""
        return int.from_bytes(self.read(vaddr, size), self.order, signed=signed)

    def pointer(self, vaddr: int) -> int:
        """An unsigned long. Raises Malformed where its page is missing or not mapped."""
        return self.integer(vaddr, self.word_size)


class Region:
    """A stretch of virtual memory, read page by page as it is needed."""

    def __init__(self, virtual: Virtual, start: int, size: int) -> None:
        self._virtual = virtual
        self._page_size = virtual.page_size
        self.start = start
        self.size = size
        self._pages: dict[int, bytes | None] = {}
        self.failure: Malformed | None = None  # why the first missing page is missing

    def slice(self, offset: int, size: int) -> bytes | None:
        """Bytes from `offset` of the region; None where one of their pages is missing."""
        number, inside = divmod(self.start + offset, self._page_size)
        page = self._page(number)
        if page is None:
            return None
        if inside + size <= self._page_size:
            return page[inside : inside + size]
        whole = bytearray(page[inside:])
        while len(whole) < size:
            number += 1
            page = self._page(number)
            if page is None:
                return None
            whole += page[: size - len(whole)]
        return bytes(whole)

    def pieces(self) -> Iterator[bytes | int]:
        """The whole region, page by page: its bytes, or their number where the page is missing."""
        offset = 0
        while offset < self.size:
            size = min(self.size - offset, self._page_size - (self.start + offset) % self._page_size)
            data = self.slice(offset, size)
            yield size if data is None else data
            offset += size

    def _page(self, number: int) -> bytes | None:
        if number in self._pages:
            return self._pages[number]
        page: bytes | None
        try:
            page = self._virtual.page(number * self._page_size)
        except Malformed as error:
            self.failure = self.failure or error
            page = None
        if len(self._pages) * self._page_size >= _KEPT_BYTES:
            self._pages.pop(next(iter(self._pages)))
        self._pages[number] = page
        return page


def open_untrusted(pread: Pread, kind: Kind) -> tuple[Virtual, Vmcoreinfo]:
    """The kernel's memory, by virtual address, and what is needed to read it.

    Raises:
        Malformed: no dump, or its headers or VMCOREINFO are not there.
    """
    match kind:
        case Kind.KDUMP:
            return open_parts_untrusted([pread])
        case Kind.ELF:
            return _open_elf(pread)
    raise Malformed(f"a file of kind {kind} holds no memory")


def open_parts_untrusted(parts: Sequence[Pread]) -> tuple[Virtual, Vmcoreinfo]:
    """The same of a split dump, of which parts may be missing.

    Raises:
        Malformed: a part's headers cannot be read, or no part has VMCOREINFO.
    """
    memory = KdumpMemory(parts)
    infos = (diskdump.vmcoreinfo_untrusted(pread, diskdump.parse_untrusted(pread)) for pread in parts)
    info = _needed(next((found for found in infos if found), None))
    return Virtual(memory, translator_untrusted(memory, info, memory.header.utsname.machine or None)), info


def _open_elf(pread: Pread) -> tuple[Virtual, Vmcoreinfo]:
    core = elf.parse_untrusted(pread)
    info = _needed(elf.vmcoreinfo_untrusted(pread, core))
    page_size = info.page_size or 4096
    found = None if core.segments else anchor.anchored_untrusted(pread, core, info)
    if found is None:
        memory = ElfMemory(pread, page_size, core)
        return Virtual(memory, translator_untrusted(memory, info, core.architecture)), info
    image = found.segments[0]
    way = Linear(image.vaddr, image.vaddr + image.memsz, image.paddr)
    memory = ElfMemory(pread, page_size, found)
    return Virtual(memory, Translator(memory, (way,), None, ())), info


def _needed(info: Vmcoreinfo | None) -> Vmcoreinfo:
    if info is None:
        raise Malformed("the dump has no VMCOREINFO")
    return info
