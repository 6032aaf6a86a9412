"""makedumpfile's flattened format, written: the inverse of ``receiver.dump.flattened``.

Source: makedumpfile 1.7.x, makedumpfile.h (``makedumpfile_header``,
``makedumpfile_data_header``) and IMPLEMENTATION, "The flattened format".
All integers are signed 64-bit big-endian on every architecture.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

SIGNATURE = b"makedumpfile\0\0\0\0"
HEADER_SIZE = 4096  # bytes, MAX_SIZE_MDF_HEADER
END_RECORD = b"\xff" * 16  # offset -1, buf_size -1

_RECORD = struct.Struct(">qq")


def header(*, type_: int = 1, version: int = 1) -> bytes:
    """The start block: signature, type and version, zero-filled."""
    return (SIGNATURE + struct.pack(">qq", type_, version)).ljust(HEADER_SIZE, b"\0")


def record(offset: int, data: bytes) -> bytes:
    """One write of ``data`` at ``offset`` of the dump file."""
    return _RECORD.pack(offset, len(data)) + data


def stream(records: Iterable[tuple[int, bytes]], *, end: bool = True) -> bytes:
    """The whole stream of these writes, in this order; without ``end`` it is one that broke off."""
    body = b"".join(record(offset, data) for offset, data in records)
    return header() + body + (END_RECORD if end else b"")


def records(flat: bytes) -> Iterator[tuple[int, bytes]]:
    """The writes in a stream, the last one cut short where the stream is; ends at the end record."""
    position = HEADER_SIZE
    while position + _RECORD.size <= len(flat):
        offset, size = _RECORD.unpack_from(flat, position)
        if offset < 0:
            return
        position += _RECORD.size
        piece = flat[position : position + size]
        if piece:
            yield offset, piece
        position += size


def image(flat: bytes) -> bytes:
    """What ``makedumpfile -R`` makes of the stream, or of a broken-off prefix of one: later writes win."""
    whole = bytearray()
    for offset, data in records(flat):
        if len(whole) < offset + len(data):
            whole.extend(bytes(offset + len(data) - len(whole)))
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def rearrange(flat: bytes, path: Path) -> None:
    """Write :func:`image` to a sparse file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for offset, data in records(flat):
            os.pwrite(fd, data, offset)
    finally:
        os.close(fd)
