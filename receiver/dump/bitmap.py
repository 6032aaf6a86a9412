"""Counting page frames in a bitmap that lies in a file; least significant bit first."""

from __future__ import annotations

from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread, chunks

_STEP = 1 << 18  # bytes; int.bit_count() is fastest while the number fits the processor's cache


def popcount(pread: Pread, offset: int, first: int, end: int) -> int:
    """How many bits from `first` up to `end` are set in the bitmap at `offset`.

    Raises:
        Malformed: the file ends before.
    """
    if first >= end:
        return 0
    start, stop = first // 8, (end + 7) // 8
    count, read = 0, 0
    for piece in chunks(pread, offset + start, stop - start, _STEP):
        if not read:
            count -= (piece[0] & ((1 << first % 8) - 1)).bit_count()
        read += len(piece)
        count += int.from_bytes(piece, "little").bit_count()
    if read != stop - start:
        raise Malformed(
            f"the page bitmap at byte {offset} is cut short: {read} of {stop - start} bytes are there"
        )
    if end % 8:
        count -= (piece[-1] >> end % 8).bit_count()
    return count
