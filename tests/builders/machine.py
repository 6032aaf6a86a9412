"""A crashed machine: its memory, its VMCOREINFO, and a kernel log in it, in the forms of all kernels.

Source: Linux, kernel/printk/printk_ringbuffer.h (5.10 and later), kernel/printk/printk.c
(3.5 to 5.9: struct printk_log; 3.4: plain text).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump, Order


@dataclass(frozen=True)
class Message:
    """One record to be."""

    text: bytes
    nanoseconds: int = 0
    level: int = 6
    caller_id: int = 1


@dataclass
class Machine:
    """Memory with a kernel's image at a constant offset. Addresses are handed out upwards."""

    architecture: str = "x86_64"
    order: Order = "little"
    word_size: int = 8
    page_size: int = 4096
    image: int = 0xFFFFFFFF82000000  # virtual address of the image's first byte
    image_paddr: int = 0x2000000
    release: str = "6.1.0-test"

    def __post_init__(self) -> None:
        self.memory: dict[int, bytearray] = {}
        self.lines: dict[str, str] = {"OSRELEASE": self.release, "PAGESIZE": str(self.page_size)}
        self._next = self.image
        self._next_paddr = self.image_paddr + (64 << 20)
        self.lines["SYMBOL(_stext)"] = f"{self.image:x}"
        names = ("Linux", "crashed", self.release, "#1 SMP", self.architecture, "(none)")
        utsname = b"".join(name.encode().ljust(65, b"\0") for name in names)
        self.symbol("init_uts_ns", self.place(bytes(4) + utsname))
        self.lines["OFFSET(uts_namespace.name)"] = "4"
        match self.architecture:
            case "x86_64":
                self.lines["NUMBER(phys_base)"] = str(self.image_paddr - (self.image - 0xFFFFFFFF80000000))
            case "aarch64":
                self.lines["NUMBER(kimage_voffset)"] = f"0x{self.image - self.image_paddr & (1 << 64) - 1:x}"

    @property
    def vmcoreinfo(self) -> bytes:
        return "".join(f"{key}={value}\n" for key, value in self.lines.items()).encode()

    @property
    def pages(self) -> dict[int, bytes]:
        return {pfn: bytes(page) for pfn, page in self.memory.items()}

    def kdump(self, **options: object) -> Kdump:
        """The machine's dump, kdump-compressed."""
        settings: dict[str, object] = {
            "order": self.order,
            "word_size": self.word_size,
            "block_size": self.page_size,
            "machine": self.architecture,
            "release": self.release,
            "vmcoreinfo": self.vmcoreinfo,
        }
        return Kdump(self.pages, **{**settings, **options})  # type: ignore[arg-type]  # options are Kdump's fields

    def elf(self, **options: object) -> ElfCore:
        """The machine's dump as an ELF core: a segment for each run of pages."""
        loads: list[Load] = []
        for pfn, page in sorted(self.pages.items()):
            last = loads[-1] if loads else None
            if last and last.paddr + len(last.data) == pfn * self.page_size:
                last.data += page
            else:
                loads.append(Load(pfn * self.page_size, page))
        machine = {"x86_64": 62, "aarch64": 183, "s390x": 22, "ppc64": 21, "i686": 3, "armv7l": 40}
        settings: dict[str, object] = {
            "order": self.order,
            "word_size": self.word_size,
            "machine": machine[self.architecture],
            "vmcoreinfo": self.vmcoreinfo,
        }
        return ElfCore(loads, **{**settings, **options})  # type: ignore[arg-type]  # options are ElfCore's fields

    # memory -------------------------------------------------------------------

    def write(self, paddr: int, data: bytes) -> None:
        while data:
            pfn, inside = divmod(paddr, self.page_size)
            page = self.memory.setdefault(pfn, bytearray(self.page_size))
            piece = data[: self.page_size - inside]
            page[inside : inside + len(piece)] = piece
            data, paddr = data[len(piece) :], paddr + len(piece)

    def place(self, data: bytes) -> int:
        """Put it into the image; gives its virtual address."""
        at = self._next
        self._next += len(data) + -len(data) % 64
        self.write(at - self.image + self.image_paddr, data)
        return at

    def place_outside(self, data: bytes) -> int:
        """Put it outside the image, from a page's start on; gives its physical address."""
        at = self._next_paddr
        self._next_paddr += -(-len(data) // self.page_size) * self.page_size
        self.write(at, data)
        return at

    def word(self, value: int) -> bytes:
        return self.number(value, self.word_size)

    def number(self, value: int, size: int) -> bytes:
        return (value & (1 << 8 * size) - 1).to_bytes(size, self.order)

    def symbol(self, name: str, address: int) -> None:
        self.lines[f"SYMBOL({name})"] = f"{address:x}"

    def flat_memory_model(self) -> None:
        """What makedumpfile wants to know of the memory model before it looks at a log."""
        self.lines |= {
            "SIZE(page)": "64",
            "OFFSET(page.flags)": "0",
            "OFFSET(page._refcount)": "52",
            "OFFSET(page._count)": "52",
            "OFFSET(page.mapping)": "24",
            "OFFSET(page.lru)": "8",
            "OFFSET(page._mapcount)": "48",
            "OFFSET(page.private)": "40",
        }
        self.symbol("mem_map", self.place(self.word(0xFFFF888000000000)))

    # logs -----------------------------------------------------------------------

    def ringbuffer(
        self,
        messages: Sequence[Message],
        *,
        count_bits: int = 5,
        size_bits: int = 12,
        first_id: int | None = None,
        may_touch_the_end: bool = False,
        place: Callable[[bytes], int] | None = None,
    ) -> None:
        """The log of Linux 5.10 and later; `place` puts its three arrays and gives their addresses.

        `may_touch_the_end`: a block may end where the ring does, as in Linux 6.18 and later.
        """
        put = place or self.place
        word, count, size = self.word_size, 1 << count_bits, 1 << size_bits
        id_mask = (1 << word * 8 - 2) - 1
        descriptors, infos, text = bytearray(3 * word * count), bytearray(88 * count), bytearray(size)
        lpos = 0
        # The first id of a real ring: -count, so that ids wrap early (DESC0_ID of printk_ringbuffer.h).
        id_ = tail = (-count if first_id is None else first_id) & id_mask
        for message in messages:
            block = -(-(word + len(message.text)) // word) * word
            begin, end, at = lpos, lpos + block, lpos % size
            if begin // size != (end - may_touch_the_end) // size:  # it wraps: its data are at the start
                end, at = end // size * size + block, 0
            text[at : at + block] = (self.word(id_) + message.text).ljust(block, b"\0")
            lpos = end
            row = self.word(2 << word * 8 - 2 | id_) + self.word(begin) + self.word(end)
            index = id_ % count
            descriptors[index * 3 * word : (index + 1) * 3 * word] = row
            level = message.level << 5 if self.order == "little" else message.level
            info = self.number(0, 8) + self.number(message.nanoseconds, 8) + self.number(len(message.text), 2)
            info += bytes((0, level)) + self.number(message.caller_id, 4)
            infos[index * 88 : (index + 1) * 88] = info.ljust(88, b"\0")
            id_ = (id_ + 1) & id_mask
        head = (id_ - 1) & id_mask
        tail = max(tail, 0) if len(messages) <= count else (head - count + 1) & id_mask
        addresses = put(bytes(descriptors)), put(bytes(infos)), put(bytes(text))
        ring = self.number(count_bits, 4).ljust(word, b"\0")
        ring += self.word(addresses[0]) + self.word(addresses[1]) + self.word(head) + self.word(tail)
        ring += self.word(0)
        ring += self.number(size_bits, 4).ljust(word, b"\0") + self.word(addresses[2]) + self.word(lpos)
        ring += self.word(0) + self.word(0)
        static = self.place(ring)
        self.symbol("printk_rb_static", static)
        self.symbol("prb", self.place(self.word(static)))
        self._ringbuffer_layout()

    def _ringbuffer_layout(self) -> None:
        word = self.word_size
        sizes = {
            "printk_ringbuffer": 11 * word,
            "prb_desc_ring": 6 * word,
            "prb_desc": 3 * word,
            "prb_data_blk_lpos": 2 * word,
            "printk_info": 88,
            "prb_data_ring": 4 * word,
            "atomic_long_t": word,
        }
        offsets = {
            "printk_ringbuffer.desc_ring": 0,
            "printk_ringbuffer.text_data_ring": 6 * word,
            "prb_desc_ring.count_bits": 0,
            "prb_desc_ring.descs": word,
            "prb_desc_ring.infos": 2 * word,
            "prb_desc_ring.head_id": 3 * word,
            "prb_desc_ring.tail_id": 4 * word,
            "prb_desc.state_var": 0,
            "prb_desc.text_blk_lpos": word,
            "prb_data_blk_lpos.begin": 0,
            "prb_data_blk_lpos.next": word,
            "printk_info.seq": 0,
            "printk_info.ts_nsec": 8,
            "printk_info.text_len": 16,
            "printk_info.caller_id": 20,
            "prb_data_ring.size_bits": 0,
            "prb_data_ring.data": word,
            "atomic_long_t.counter": 0,
        }
        self.lines |= {f"SIZE({name})": str(size) for name, size in sizes.items()}
        self.lines |= {f"OFFSET({name})": str(offset) for name, offset in offsets.items()}

    def structured(
        self,
        messages: Sequence[Message],
        *,
        size: int = 1 << 13,
        start: int = 0,
        name: str = "printk_log",
        place: Callable[[bytes], int] | None = None,
    ) -> None:
        """The log of Linux 3.5 to 5.9: records one after another, from `start` of the buffer on."""
        buffer = bytearray(size)
        at = start
        for message in messages:
            length = -(-(16 + len(message.text)) // 4) * 4
            if at + length + 16 > size:  # a header of length 0 says: go on at the start
                at = 0
            level = message.level << 5 if self.order == "little" else message.level
            header = self.number(message.nanoseconds, 8) + self.number(length, 2)
            header += self.number(len(message.text), 2) + self.number(0, 2) + bytes((0, level))
            buffer[at : at + length] = (header + message.text).ljust(length, b"\0")
            at += length
        self._buffer(bytes(buffer), place)
        self.symbol("log_first_idx", self.place(self.number(start, 4)))
        self.symbol("log_next_idx", self.place(self.number(at, 4)))
        self.lines[f"SIZE({name})"] = "16"
        offsets = {"ts_nsec": 0, "len": 8, "text_len": 10, "dict_len": 12}
        self.lines |= {f"OFFSET({name}.{member})": str(offset) for member, offset in offsets.items()}

    def flat(self, text: bytes, *, size: int = 1 << 12) -> None:
        """The log before Linux 3.5: text, the newest `size` bytes of it."""
        buffer = bytearray(size)
        for number, byte in enumerate(text):
            buffer[number % size] = byte
        self._buffer(bytes(buffer), None)
        self.symbol("log_end", self.place(self.number(len(text), 4)))
        self.symbol("logged_chars", self.place(self.number(len(text), 4)))

    def _buffer(self, data: bytes, place: Callable[[bytes], int] | None) -> None:
        address = (place or self.place)(data)
        self.symbol("log_buf", self.place(self.word(address)))
        self.symbol("log_buf_len", self.place(self.number(len(data), 4)))

    # page tables -----------------------------------------------------------------

    def x86_tables(self, vaddr: int, paddr: int, size: int, *, levels: int = 4, page_bits: int = 12) -> None:
        """Map `size` bytes at `vaddr`, in pages of 2^page_bits (12, 21 or 30)."""
        shifts = [12 + 9 * level for level in range(levels)][::-1]
        root = self.place(bytes(8192)) + 4095 & ~4095  # in the image, as init_top_pgt is
        self.symbol("init_top_pgt", root)
        self.lines["NUMBER(pgtable_l5_enabled)"] = str(int(levels == 5))
        root_paddr = root - self.image + self.image_paddr
        for at in range(0, size, 1 << page_bits):
            table = root_paddr
            for shift in shifts:
                place = table + ((vaddr + at) >> shift) % 512 * 8
                if shift == page_bits:
                    self.write(place, self.number(paddr + at | (0x80 if shift > 12 else 0) | 1, 8))
                    break
                table = self._table(place, 0x67)

    def arm64_tables(self, vaddr: int, paddr: int, size: int, *, bits: int = 48, block: bool = False) -> None:
        """Map `size` bytes at `vaddr`, in pages, or in the blocks of the level above them."""
        page_bits = self.page_size.bit_length() - 1
        shifts = list(range(page_bits, bits, page_bits - 3))[::-1]
        last = shifts[-2] if block else page_bits
        root = self.place(bytes(2 * self.page_size)) + self.page_size - 1 & ~(self.page_size - 1)
        self.symbol("swapper_pg_dir", root)
        self.lines["NUMBER(VA_BITS)"] = str(bits)
        root_paddr = root - self.image + self.image_paddr
        for at in range(0, size, 1 << last):
            table, entries = root_paddr, 1 << bits - shifts[0]
            for shift in shifts:
                place = table + ((vaddr + at) >> shift) % entries * 8
                if shift == last:
                    self.write(place, self.number(paddr + at | (1 if block else 3) | 0x700, 8))
                    break
                table, entries = self._table(place, 3), self.page_size // 8

    def _table(self, place: int, flags: int) -> int:
        pfn, inside = divmod(place, self.page_size)
        entry = int.from_bytes(self.memory[pfn][inside : inside + 8], self.order)
        if not entry:
            entry = self.place_outside(bytes(self.page_size)) | flags
            self.write(place, self.number(entry, 8))
        return entry & ~0xFFF & 0x000FFFFFFFFFFFFF
