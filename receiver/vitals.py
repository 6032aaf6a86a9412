"""Signs of life of every serving process, in memory that all of them share: no file, no lock, no wait.

The supervisor makes it before it forks; each process writes its own slot, the desk reads them all.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Final

_SLOT: Final = struct.Struct("=ddddqqq")  # beaten, started, lag, lag_most, connections, uploads, starts


@dataclass(frozen=True, slots=True)
class Sign:
    """One process as it is now. Times are of the monotonic clock, which all processes share."""

    beaten: float = 0.0
    started: float = 0.0
    lag_seconds: float = 0.0  # how late its loop turned, at the last look
    lag_most_seconds: float = 0.0  # since it started
    connections: int = 0
    uploads: int = 0
    starts: int = 0  # how many processes have had this place


class Vitals:
    """`places` slots, the workers' first and the desk's last."""

    def __init__(self, places: int) -> None:
        self._memory = mmap.mmap(-1, max(1, places) * _SLOT.size)
        self.places = places

    def write(self, place: int, sign: Sign) -> None:
        """Replace one slot. A reader may see it half written: each number is whole, none waits."""
        _SLOT.pack_into(
            self._memory,
            place * _SLOT.size,
            sign.beaten,
            sign.started,
            sign.lag_seconds,
            sign.lag_most_seconds,
            sign.connections,
            sign.uploads,
            sign.starts,
        )

    def read(self, place: int) -> Sign:
        """One slot; all zero where nothing was written yet."""
        return Sign(*_SLOT.unpack_from(self._memory, place * _SLOT.size))


class Beat:
    """One process's hand on its slot: call `beat` every `every_seconds` from the event loop."""

    def __init__(self, vitals: Vitals, place: int, now: float, every_seconds: float) -> None:
        self._vitals = vitals
        self._place = place
        self._every = every_seconds
        self._started = self._last = now
        self._most = 0.0
        self._starts = vitals.read(place).starts + 1

    def beat(self, now: float, connections: int, uploads: int) -> None:
        """The loop turns; how late it is beyond the time asked for is its lag."""
        lag = max(0.0, now - self._last - self._every) if now != self._started else 0.0
        self._last = now
        self._most = max(self._most, lag)
        sign = Sign(now, self._started, lag, self._most, connections, uploads, self._starts)
        self._vitals.write(self._place, sign)
