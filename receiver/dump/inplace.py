"""A flattened stream read where it lies: the dump inside it by position, without rearranging it first.

For files that somebody already has (``kdump-receiver triage vmcore.flat``). The index holds
a row for each record, or less where neighbours join.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from heapq import heappop, heappush
from struct import Struct

from receiver.dump.flattened import END_FLAG, HEADER_SIZE, SIGNATURE
from receiver.dump.malformed import Malformed
from receiver.dump.pread import CHUNK, Pread, chunks

MOST_RECORDS = 1 << 22  # some 200 GiB of dump
LARGEST = 1 << 62  # bytes of file that a record may reach

_RECORD = Struct(">qq")


@dataclass(frozen=True, slots=True)
class InPlace:
    """The dump inside the stream."""

    pread: Pread
    size: int  # bytes of the dump
    ended: bool  # the end record was seen
    records: int
    stream_bytes: int  # up to the end record or the file's end


def open_untrusted(pread: Pread) -> InPlace:
    """Index the records of a flattened stream, or of what is left of one.

    Raises:
        Malformed: no flattened stream, one with a record that no makedumpfile writes, or too many records.
    """
    if pread(0, len(SIGNATURE)) != SIGNATURE:
        raise Malformed("no flattened stream: makedumpfile's signature is missing")
    offsets, sizes, sources = array("q"), array("q"), array("q")
    position, ended = HEADER_SIZE, False
    while len(header := pread(position, _RECORD.size)) == _RECORD.size:
        offset, size = _RECORD.unpack(header)
        position += _RECORD.size
        if offset == size == END_FLAG:
            ended = True
            break
        if offset < 0 or size <= 0 or offset + size > LARGEST:
            raise Malformed(f"record {len(offsets)} has offset {offset} and size {size}")
        if len(offsets) == MOST_RECORDS:
            raise Malformed(f"more than {MOST_RECORDS} records")
        there = size if pread(position + size - 1, 1) else _available(pread, position, size)
        if there:
            offsets.append(offset)
            sizes.append(there)
            sources.append(position)
        position += there
        if there < size:
            break
    else:
        position += len(header)
    starts, ends, shifts = _settle(offsets, sizes, sources)
    return InPlace(_reader(pread, starts, ends, shifts), max(ends, default=0), ended, len(offsets), position)


def _available(pread: Pread, position: int, size: int) -> int:
    """Bytes of a record that the file broke off in."""
    return sum(len(piece) for piece in chunks(pread, position, size, CHUNK))


def _settle(
    offsets: array[int], sizes: array[int], sources: array[int]
) -> tuple[array[int], array[int], array[int]]:
    """Disjoint stretches in order: where each starts and ends, and how far ahead its bytes lie in the stream.

    Where records overlap the later one wins.
    """
    starts, ends, shifts = array("q"), array("q"), array("q")

    def put(start: int, end: int, shift: int) -> None:
        if ends and ends[-1] == start and shifts[-1] == shift:
            ends[-1] = end
        elif start < end:
            starts.append(start)
            ends.append(end)
            shifts.append(shift)

    waiting: list[tuple[int, int]] = []  # (-number, end) of records over the current place, the latest first
    at = 0
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    for number in [*order, -1]:
        until = offsets[number] if number >= 0 else LARGEST
        while waiting and at < until:
            latest, end = waiting[0]
            if end <= at:
                heappop(waiting)
                continue
            stop = min(end, until)
            put(at, stop, sources[-latest] - offsets[-latest])
            at = stop
        at = until
        if number >= 0:
            heappush(waiting, (-number, offsets[number] + sizes[number]))
    return starts, ends, shifts


def _reader(pread: Pread, starts: array[int], ends: array[int], shifts: array[int]) -> Pread:
    size = ends[-1] if ends else 0

    def read(offset: int, wanted: int) -> bytes:
        stop = min(offset + wanted, size)
        if stop <= offset:
            return b""
        row = max(0, bisect_right(starts, offset) - 1)
        pieces: list[bytes] = []
        while offset < stop:
            while row < len(starts) and ends[row] <= offset:
                row += 1
            if starts[row] > offset:  # never written: a hole
                gap = min(starts[row], stop) - offset
                pieces.append(bytes(gap))
            else:
                gap = min(ends[row], stop) - offset
                piece = pread(offset + shifts[row], gap)
                pieces.append(piece.ljust(gap, b"\0"))
            offset += gap
        return b"".join(pieces)

    return read
