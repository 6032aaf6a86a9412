"""The room for dumps: how much there is, who has it, what goes next, and how it came to be used."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from receiver.catalogue.brief import Brief
from receiver.spool.summary import Going, HostSpace, Summary
from receiver.web.views import words

DAY: Final = 86_400
DAYS: Final = 60
MOST_HOSTS: Final = 20
SHORT: Final = 0.9  # of the room: worth a colour


@dataclass(frozen=True, slots=True)
class Removed:
    """Bytes that were pruned: when they came and went, in seconds of the epoch."""

    came: float
    went: float
    bytes: int


@dataclass(frozen=True, slots=True)
class HostShare:
    """What one host has: `fraction` of its quota, or of all dumps where it has none."""

    host: str
    bytes: int
    dumps: int
    quota: int | None
    fraction: float


@dataclass(frozen=True, slots=True)
class SpacePage:
    """Bytes. `room` is what dumps may take in all; `others` is what the file system holds beside them."""

    total: int
    room: int
    dumps: int
    reserved: int
    others: int
    available: int
    evictable: int
    keep_free: int
    max_use: int | None
    count: int
    pinned: int
    by_host: tuple[HostShare, ...]
    next: tuple[Going, ...]
    history: tuple[tuple[str, int], ...]  # date, bytes of dumps on the disk at its end

    @property
    def used_fraction(self) -> float:
        """Of the room."""
        return min(1.0, max(0.0, 1 - self.available / self.room)) if self.room > 0 else 1.0

    @property
    def is_short(self) -> bool:
        """Less than a tenth is left, and eviction would not give it."""
        return self.used_fraction > SHORT and self.available + self.evictable < self.room * (1 - SHORT)

    @property
    def days_left(self) -> float | None:
        """Days until it is full at the pace of the last week; None where nothing grew."""
        if len(self.history) < 8:
            return None
        grown = self.history[-1][1] - self.history[-8][1]
        return self.available / (grown / 7) if grown > 0 else None

    @property
    def sentence(self) -> str:
        """The state in one line."""
        left = f"{words.size(self.available)} left for dumps"
        if self.days_left is not None and self.days_left < 365:
            left += f", about {words.count(max(1, int(self.days_left)), 'day')} at last week's pace"
        return left


def space_page(found: Summary, dumps: Iterable[Brief], removed: Iterable[Removed], now: float) -> SpacePage:
    """The view of it. `dumps` are all that are listed."""
    free = max(0, found.free - found.keep_free - found.reserved)
    room = found.bytes + found.reserved + free
    if found.max_use is not None:
        free = min(free, max(0, found.max_use - found.bytes - found.reserved))
        room = min(room, found.max_use)
    return SpacePage(
        total=found.total,
        room=room,
        dumps=found.bytes,
        reserved=found.reserved,
        others=max(0, found.total - found.free - found.bytes),
        available=free,
        evictable=found.evictable,
        keep_free=found.keep_free,
        max_use=found.max_use,
        count=found.dumps,
        pinned=found.pinned,
        by_host=tuple(_share(host, found.bytes) for host in found.hosts[:MOST_HOSTS]),
        next=found.next,
        history=_history(dumps, removed, now),
    )


def _share(host: HostSpace, everything: int) -> HostShare:
    whole = host.quota or everything or 1
    return HostShare(host.host, host.bytes, host.dumps, host.quota, min(1.0, host.bytes / whole))


def _history(dumps: Iterable[Brief], removed: Iterable[Removed], now: float) -> tuple[tuple[str, int], ...]:
    """Bytes on the disk at the end of each day: what had come and not gone."""
    last = int(now // DAY)
    first = last - DAYS + 1
    changes = Counter[int]()
    for dump in dumps:
        changes[_day(_epoch(dump.date), first, last)] += dump.bytes
    for gone in removed:
        changes[_day(gone.came, first, last)] += gone.bytes
        changes[_day(gone.went, first, last)] -= gone.bytes
    level, history = 0, []
    for day in range(first, last + 1):
        level += changes[day]
        date = dt.datetime.fromtimestamp(day * DAY, dt.UTC).strftime("%Y-%m-%d")
        history.append((date, level))
    return tuple(history)


def _day(seconds: float, first: int, last: int) -> int:
    return min(max(int(seconds // DAY), first), last)


def _epoch(stamp: str) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp()
