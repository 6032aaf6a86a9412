"""The lockless printk ring buffer of Linux 5.10 and later.

Source: Linux, kernel/printk/printk_ringbuffer.{c,h}; the rules of what counts as a
record: makedumpfile 1.7.2, printk.c. Three arrays: descriptors (state and place of the
text), infos (time, length, caller) and text; a record is read when the pages of all three
are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from receiver.dump.malformed import Malformed
from receiver.dump.records import MOST_RECORDS, Entry, Gap, Record, caller
from receiver.dump.virtual import Region, Virtual
from receiver.dump.vmcoreinfo import Vmcoreinfo

_COMMITTED, _FINALIZED = 1, 2
_MOST_BITS = 31  # of the text ring's size: LOG_BUF_LEN_MAX of kernel/printk/printk.c


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie, from VMCOREINFO, bytes."""

    state: int
    begin: int
    next: int
    descriptor_size: int
    nanoseconds: int
    text_length: int
    caller_id: int | None
    info_size: int


@dataclass(frozen=True, slots=True)
class _Ring:
    descriptors: Region
    infos: Region
    text: Region
    count: int  # descriptors
    tail: int  # ids of the oldest record
    head: int  # and of the newest
    layout: _Layout


def read_untrusted(virtual: Virtual, info: Vmcoreinfo) -> Iterator[Entry]:
    """The records, oldest first, with gaps where pages are missing.

    Raises:
        Malformed: the ring itself cannot be found or read.
    """
    ring = _ring(virtual, info)
    bits = virtual.word_size * 8
    mask = (1 << bits - 2) - 1
    wanted = ((ring.head - ring.tail) & mask) + 1
    if wanted > ring.count:
        raise Malformed(f"the log's ring of {ring.count} descriptors claims {wanted} records")
    missing = max(0, wanted - MOST_RECORDS)
    start = ring.tail + missing
    for number in range(min(wanted, MOST_RECORDS)):
        entry = _record(ring, virtual, (start + number) & mask, bits)
        if isinstance(entry, Gap):
            missing += 1
            continue
        if entry is not None:
            if missing:
                yield Gap(records=missing)
                missing = 0
            yield entry
    if missing:
        yield Gap(records=missing)


def _record(ring: _Ring, virtual: Virtual, id_: int, bits: int) -> Record | Gap | None:
    """None: there is nothing to print under this id."""
    layout, order, word = ring.layout, virtual.order, virtual.word_size
    index = id_ % ring.count
    raw = ring.descriptors.slice(index * layout.descriptor_size, layout.descriptor_size)
    if raw is None:
        return Gap(records=1)
    state = int.from_bytes(raw[layout.state : layout.state + word], order)
    if state & (1 << bits - 2) - 1 != id_ or state >> bits - 2 not in (_COMMITTED, _FINALIZED):
        return None
    begin = int.from_bytes(raw[layout.begin : layout.begin + word], order) % ring.text.size
    end = int.from_bytes(raw[layout.next : layout.next + word], order) % ring.text.size
    if begin == end:
        return None  # no text
    if end == 0:
        end = ring.text.size  # since 6.18 a block may end where the ring does
    if begin > end:
        begin = 0  # it would have wrapped: the writer put it to the ring's start
    begin += word  # the text follows the descriptor's id
    info = ring.infos.slice(index * layout.info_size, layout.info_size)
    at = layout.text_length
    length = end - begin if info is None else min(int.from_bytes(info[at : at + 2], order), end - begin)
    text = ring.text.slice(begin, length) if length > 0 else b""
    if text is None:
        return Gap(records=1)
    if info is None:  # the text lives on without its time; blocks are padded with zeros
        return Record(None, text.rstrip(b"\0"))
    # u16 text_len, u8 facility, u8 flags:5 and level:3, whose order follows the bytes' order
    bitfield = info[at + 3] if at + 3 < len(info) else None
    level = None if bitfield is None else bitfield >> 5 if order == "little" else bitfield & 7
    who = layout.caller_id
    return Record(
        nanoseconds=int.from_bytes(info[layout.nanoseconds : layout.nanoseconds + 8], order),
        text=text,
        level=level,
        caller=caller(int.from_bytes(info[who : who + 4], order)) if who is not None else None,
    )


def _ring(virtual: Virtual, info: Vmcoreinfo) -> _Ring:
    address = _address(virtual, info)
    raw = virtual.read(address, _size(info, "printk_ringbuffer"))

    def field(*path: str, size: int = virtual.word_size) -> int:
        at = sum(_offset(info, member) for member in path)
        return int.from_bytes(raw[at : at + size], virtual.order)

    descriptors, text = "printk_ringbuffer.desc_ring", "printk_ringbuffer.text_data_ring"
    count_bits = field(descriptors, "prb_desc_ring.count_bits", size=4)
    size_bits = field(text, "prb_data_ring.size_bits", size=4)
    if not 0 < count_bits <= _MOST_BITS or not 0 < size_bits <= _MOST_BITS:
        raise Malformed(f"the log's ring claims 2^{count_bits} records and 2^{size_bits} bytes of text")
    layout = _Layout(
        state=_offset(info, "prb_desc.state_var") + _offset(info, "atomic_long_t.counter"),
        begin=_offset(info, "prb_desc.text_blk_lpos") + _offset(info, "prb_data_blk_lpos.begin"),
        next=_offset(info, "prb_desc.text_blk_lpos") + _offset(info, "prb_data_blk_lpos.next"),
        descriptor_size=_size(info, "prb_desc"),
        nanoseconds=_offset(info, "printk_info.ts_nsec"),
        text_length=_offset(info, "printk_info.text_len"),
        caller_id=info.offset("printk_info.caller_id"),
        info_size=_size(info, "printk_info"),
    )
    count = 1 << count_bits
    place = field(descriptors, "prb_desc_ring.descs"), field(descriptors, "prb_desc_ring.infos")
    return _Ring(
        descriptors=Region(virtual, place[0], count * layout.descriptor_size),
        infos=Region(virtual, place[1], count * layout.info_size),
        text=Region(virtual, field(text, "prb_data_ring.data"), 1 << size_bits),
        count=count,
        tail=field(descriptors, "prb_desc_ring.tail_id", "atomic_long_t.counter"),
        head=field(descriptors, "prb_desc_ring.head_id", "atomic_long_t.counter"),
        layout=layout,
    )


def _address(virtual: Virtual, info: Vmcoreinfo) -> int:
    """Of the ring in use: the static one, or a larger one made at boot."""
    variable, static = info.symbol("prb"), info.symbol("printk_rb_static")
    try:
        if variable is not None:
            return virtual.pointer(variable)
    except Malformed:
        if static is None:
            raise
    if static is None:
        raise Malformed("VMCOREINFO names no printk ring buffer")
    return static


def _offset(info: Vmcoreinfo, member: str) -> int:
    return _believable(info.offset(member), f"OFFSET({member})")


def _size(info: Vmcoreinfo, name: str) -> int:
    return _believable(info.size(name), f"SIZE({name})", least=1)


def _believable(value: int | None, what: str, least: int = 0) -> int:
    if value is None or not least <= value <= 4096:
        raise Malformed(f"VMCOREINFO has no usable {what}")
    return value
