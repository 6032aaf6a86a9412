"""The kernel's log before 5.10: records in one buffer (3.5 to 5.9), and plain text (before 3.5).

Source: Linux 5.4 and 3.4, kernel/printk; the rules of where it begins and ends:
makedumpfile 1.7.2, dump_dmesg().
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.dump.malformed import Malformed
from receiver.dump.records import MOST_RECORDS, Entry, Gap, Record, caller
from receiver.dump.virtual import Region, Virtual
from receiver.dump.vmcoreinfo import Vmcoreinfo

LARGEST = 64 << 20  # bytes that are believed; kernels were built with 32 MiB at most (LOG_BUF_SHIFT 25)
_MOST_TRIES = 1 << 20  # places looked at for the next record behind missing pages


def structured_untrusted(virtual: Virtual, info: Vmcoreinfo) -> Iterator[Entry]:
    """The records, oldest first. They are chained by their lengths, so a missing page ends a chain:

    behind it reading goes on at the next place that looks like a record.

    Raises:
        Malformed: the buffer cannot be found or read.
    """
    buffer = _buffer(virtual, info)
    layout = _Layout(info)
    index = virtual.integer(_symbol(info, "log_first_idx"), 4)
    stop = virtual.integer(_symbol(info, "log_next_idx"), 4)
    if index > buffer.size or stop > buffer.size:
        raise Malformed(f"the log's buffer of {buffer.size} bytes begins at {index} and ends at {stop}")
    wrapped = index >= stop
    if index == stop:
        return
    budget = iter(range(_MOST_TRIES))
    for _ in range(MOST_RECORDS):
        header = buffer.slice(index, layout.size) if index + layout.size <= buffer.size else None
        length = None if header is None else layout.length(header, virtual)
        if length == 0 and wrapped:  # the end of the buffer: go on at its start
            index, wrapped = 0, False
        elif header is None or length is None or not _fits(layout, header, length, virtual):
            end = buffer.size if wrapped else stop
            resumed = _resume(buffer, virtual, layout, index, end, budget)
            yield Gap(bytes=(resumed or end) - index)
            if resumed is not None:
                index = resumed
            elif wrapped:
                index, wrapped = 0, False
            else:
                return
        else:
            text = buffer.slice(index + layout.size, layout.text_length(header, virtual))
            yield Gap(records=1) if text is None else layout.record(header, text, virtual)
            index += length
        if not wrapped and index >= stop:
            return


def flat_untrusted(virtual: Virtual, info: Vmcoreinfo) -> Iterator[bytes | Gap]:
    """The text, oldest first.

    Raises:
        Malformed: the buffer cannot be found or read.
    """
    buffer = _buffer(virtual, info)
    # unsigned since 2.6.25, unsigned long before; the upper half of the long is zero in any real log
    end = virtual.integer(_symbol(info, "log_end"), 4)
    if end < buffer.size:
        stretches = [(0, end)]
    else:
        start = end & (buffer.size - 1)
        stretches = [(start, buffer.size - start), (0, start)]
    for offset, size in stretches:
        for piece in Region(virtual, buffer.start + offset, size).pieces():
            yield Gap(bytes=piece) if isinstance(piece, int) else piece


class _Layout:
    """struct printk_log, which was called struct log before 3.11 (and in VMCOREINFO longer)."""

    def __init__(self, info: Vmcoreinfo) -> None:
        def offset(member: str, otherwise: int) -> int:
            found = info.offset(f"printk_log.{member}")
            found = info.offset(f"log.{member}") if found is None else found
            return otherwise if found is None or not 0 <= found < 4096 else found

        self._nanoseconds = offset("ts_nsec", 0)
        self._length = offset("len", 8)
        self._text_length = offset("text_len", 10)
        self._caller = info.offset("printk_log.caller_id")
        size = info.size("printk_log") or info.size("log") or 16
        least = max(self._nanoseconds + 8, self._length + 2, self._text_length + 2)
        self.size = size if least <= size <= 4096 else max(16, least)

    def length(self, header: bytes, virtual: Virtual) -> int:
        """Of the whole record, bytes; 0 marks the end of the buffer."""
        return int.from_bytes(header[self._length : self._length + 2], virtual.order)

    def nanoseconds(self, header: bytes, virtual: Virtual) -> int:
        """Since boot."""
        return int.from_bytes(header[self._nanoseconds : self._nanoseconds + 8], virtual.order)

    def text_length(self, header: bytes, virtual: Virtual) -> int:
        return int.from_bytes(header[self._text_length : self._text_length + 2], virtual.order)

    def record(self, header: bytes, text: bytes, virtual: Virtual) -> Record:
        # u16 text_len, u16 dict_len, u8 facility, u8 flags:5 and level:3
        at = self._text_length + 5
        level = None
        if at < len(header):
            level = header[at] >> 5 if virtual.order == "little" else header[at] & 7
        who = self._caller
        whose = header[who : who + 4] if who is not None else b""
        return Record(
            nanoseconds=self.nanoseconds(header, virtual),
            text=text,
            level=level,
            caller=caller(int.from_bytes(whose, virtual.order)) if len(whose) == 4 else None,
        )


def _fits(layout: _Layout, header: bytes, length: int, virtual: Virtual) -> bool:
    return layout.size <= length and layout.size + layout.text_length(header, virtual) <= length


def _resume(
    buffer: Region, virtual: Virtual, layout: _Layout, index: int, end: int, budget: Iterator[int]
) -> int | None:
    """Where a chain of three sound records begins behind a missing place; records are 4-byte aligned."""
    index = (index + 4) & ~3
    for _ in budget:
        if index + layout.size > end:
            break
        header = buffer.slice(index, layout.size)
        if header is None:  # go on behind the missing page
            index += virtual.page_size - (buffer.start + index) % virtual.page_size or virtual.page_size
            continue
        if _is_chain(buffer, virtual, layout, index, end):
            return index
        index += 4
    return None


def _is_chain(buffer: Region, virtual: Virtual, layout: _Layout, index: int, end: int) -> bool:
    before = -1
    for _ in range(3):
        header = buffer.slice(index, layout.size) if index + layout.size <= end else None
        if header is None:
            return False
        length = layout.length(header, virtual)
        since = layout.nanoseconds(header, virtual)
        if not _fits(layout, header, length, virtual) or since < before:
            return False
        before = since
        index += length
        if index == end:
            return True
    return True


def _buffer(virtual: Virtual, info: Vmcoreinfo) -> Region:
    size = virtual.integer(_symbol(info, "log_buf_len"), 4)
    if not 0 < size <= LARGEST:
        raise Malformed(f"the log's buffer claims {size} bytes")
    return Region(virtual, virtual.pointer(_symbol(info, "log_buf")), size)


def _symbol(info: Vmcoreinfo, name: str) -> int:
    address = info.symbol(name)
    if address is None:
        raise Malformed(f"VMCOREINFO has no SYMBOL({name})")
    return address
