"""How the readers of dumps get their bytes: positioned reads, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from receiver.dump.malformed import Malformed

# (offset, size) -> up to size bytes, fewer only at the end of the file; holes read as zeros
Pread = Callable[[int, int], bytes]

Order = Literal["little", "big"]  # of bytes, on the machine that crashed
PREFIX: dict[Order, str] = {"little": "<", "big": ">"}  # of struct formats

_FURTHEST = 1 << 62  # bytes: beyond it an off_t may overflow
CHUNK = 4 << 20  # bytes of one read of a long stretch


def claimed(pread: Pread, offset: int, size: int) -> bytes:
    """Read where the file itself says: an offset that no file reaches gives nothing."""
    return pread(offset, size) if 0 <= offset <= _FURTHEST else b""


def exactly(pread: Pread, offset: int, size: int, what: str) -> bytes:
    """Read all of it.

    Raises:
        Malformed: the file ends before.
    """
    data = claimed(pread, offset, size)
    if len(data) != size:
        raise Malformed(f"{what} should lie at bytes {offset} to {offset + size}, but the file ends before")
    return data


def chunks(pread: Pread, offset: int, size: int, step: int = CHUNK) -> Iterator[bytes]:
    """The bytes in pieces of `step`; stops early, after a short piece, where the file ends."""
    end = offset + size
    while offset < end:
        wanted = min(step, end - offset)
        piece = pread(offset, wanted)
        if piece:
            yield piece
        if len(piece) < wanted:
            return
        offset += wanted


def of_bytes(data: bytes) -> Pread:
    """Reads of a file that is in memory."""
    return lambda offset, size: data[offset : offset + size]
