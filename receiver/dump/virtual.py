"""The crashed kernel's memory by virtual address, with holes where pages are missing."""

from __future__ import annotations

from receiver.dump.malformed import Malformed
from receiver.dump.pages import ElfMemory, KdumpMemory
from receiver.dump.pread import Order
from receiver.dump.translate import Translator

_MOST_KEPT = 4096  # pages that a region keeps


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

    def pieces(self) -> list[bytes | int]:
        """The whole region: bytes where pages are there, the number of bytes missing between them."""
        found: list[bytes | int] = []
        offset = 0
        while offset < self.size:
            size = min(self.size - offset, self._page_size - (self.start + offset) % self._page_size)
            data = self.slice(offset, size)
            last = found[-1] if found else None
            if data is not None:
                found.append(last + data if isinstance(last, bytes) else data)
                if isinstance(last, bytes):
                    del found[-2]
            elif isinstance(last, int):
                found[-1] = last + size
            else:
                found.append(size)
            offset += size
        return found

    def _page(self, number: int) -> bytes | None:
        if number in self._pages:
            return self._pages[number]
        page: bytes | None
        try:
            page = self._virtual.page(number * self._page_size)
        except Malformed as error:
            self.failure = self.failure or error
            page = None
        if len(self._pages) >= _MOST_KEPT:
            self._pages.pop(next(iter(self._pages)))
        self._pages[number] = page
        return page
