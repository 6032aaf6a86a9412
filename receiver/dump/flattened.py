"""makedumpfile's flattened format: a stream of positioned writes.

Source: makedumpfile 1.7.9, makedumpfile.h (``makedumpfile_header``,
``makedumpfile_data_header``) and IMPLEMENTATION, "The flattened format".

    4096 bytes   "makedumpfile\\0\\0\\0\\0", int64 type = 1, int64 version, zeros
    record       int64 offset, int64 size, `size` bytes
    end record   offset = size = -1

All integers are signed 64-bit big-endian on every architecture. A record says
what makedumpfile would have written with pwrite(); offsets go backwards all the
time, records overlap (ELF of makedumpfile < 1.7.6), and the later one wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from receiver.dump.malformed import Malformed, TooLarge

SIGNATURE = b"makedumpfile\0\0\0\0"
HEADER_SIZE = 4096  # bytes, MAX_SIZE_MDF_HEADER
TYPE_FLAT_HEADER = 1
END_FLAG = -1

_HEADER = Struct(">16sqq")
_RECORD = Struct(">qq")


class WriteAt(NamedTuple):
    """``pwrite(data, offset)`` of the file that the stream describes."""

    offset: int
    data: memoryview


class Rearranger:
    """Turns the stream into positioned writes while it arrives, at any packet cut.

    It holds at most one header, never a record's data. `limit_bytes` is the
    largest logical size that a record may reach.
    """

    __slots__ = (
        "_limit",
        "_missing",
        "_offset",
        "_partial",
        "ended",
        "position",
        "records",
        "size",
        "trailing",
    )

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._partial = bytearray()  # a header that a packet cut in two
        self._missing = 0  # bytes of the current record still to come
        self._offset = 0  # where the next of them goes
        self.ended = False  # the end record was seen
        self.position = 0  # bytes of stream understood
        self.records = 0
        self.size = 0  # logical size so far: the furthest byte written, plus one
        self.trailing = 0  # bytes after the end record, not stored

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[WriteAt]:
        """Take the next bytes of the stream; the writes hold views of `data`.

        Raises:
            Malformed: no flattened stream, or a record that no makedumpfile writes.
            TooLarge: a record reaches beyond the limit.
        """
        view = memoryview(data)
        while view:
            if self._missing:
                piece, view = view[: self._missing], view[self._missing :]
                yield WriteAt(self._offset, piece)
                self._offset += len(piece)
                self._missing -= len(piece)
                self.position += len(piece)
                self.size = max(self.size, self._offset)
            elif self.ended:
                self.trailing += len(view)
                return
            else:
                view = self._header(view)

    def _header(self, view: memoryview) -> memoryview:
        """Take (a part of) a header; return what follows it."""
        size = _RECORD.size if self.position >= HEADER_SIZE else HEADER_SIZE
        missing = size - len(self._partial)
        self._partial += view[:missing]
        if len(self._partial) == size:
            header, self._partial = self._partial, bytearray()
            if size == HEADER_SIZE:
                _check_start(header)
            else:
                self._record(*_RECORD.unpack(header))
            self.position += size
        return view[missing:]

    def _record(self, offset: int, size: int) -> None:
        if offset == END_FLAG and size == END_FLAG:
            self.ended = True
            return
        where = f"record {self.records}, at byte {self.position} of the stream,"
        if offset < 0 or size <= 0:
            raise Malformed(f"{where} has offset {offset} and size {size}")
        if offset + size > self._limit:
            raise TooLarge(f"{where} reaches to byte {offset + size} of the dump; the limit is {self._limit}")
        self._offset = offset
        self._missing = size
        self.records += 1


def _check_start(header: bytearray) -> None:
    signature, kind, _version = _HEADER.unpack_from(header)  # `makedumpfile -R` takes any version, too
    if signature != SIGNATURE or kind != TYPE_FLAT_HEADER:
        raise Malformed("no flattened stream: its first 24 bytes are not makedumpfile's")
