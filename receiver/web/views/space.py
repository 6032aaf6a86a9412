"""The room for dumps: how much there is, who has it, and how it came to be used."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from receiver.catalogue.brief import Brief
from receiver.spool.space import Space
from receiver.web.views import words

DAY: Final = 86_400
DAYS: Final = 60
MOST_HOSTS: Final = 20


@dataclass(frozen=True, slots=True)
class Removed:
    """A dump that was pruned: when it came and went (seconds of the epoch), and what it had taken."""

    came: float
    went: float
    bytes: int


@dataclass(frozen=True, slots=True)
class SpacePage:
    """Bytes. `others` is what the file system holds beside the dumps, `kept_free` what no dump may take."""

    total: int
    dumps: int
    others: int
    available: int
    kept_free: int
    count: int
    by_host: tuple[tuple[str, int, int], ...]  # host, bytes, dumps
    history: tuple[tuple[str, int], ...]  # date, bytes of dumps on the disk at its end

    @property
    def used_fraction(self) -> float:
        """Of what dumps may take: what they and others have."""
        room = self.total - self.kept_free
        return min(1.0, (room - self.available) / room) if room > 0 else 1.0

    @property
    def is_short(self) -> bool:
        """Less than a tenth is left."""
        return self.used_fraction > 0.9

    @property
    def days_left(self) -> float | None:
        """Days until it is full at the pace of the last week; None where nothing came."""
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


def space_page(
    room: Space, keep_free: int, dumps: Sequence[Brief], removed: Iterable[Removed], now: float
) -> SpacePage:
    """The view of it."""
    taken, counts = Counter[str](), Counter[str]()
    for dump in dumps:
        taken[dump.host] += dump.bytes
        counts[dump.host] += 1
    total_taken = sum(taken.values())
    largest = sorted(taken.items(), key=lambda item: (-item[1], item[0]))[:MOST_HOSTS]
    return SpacePage(
        total=room.total,
        dumps=total_taken,
        others=max(0, room.used - total_taken),
        available=room.available,
        kept_free=keep_free,
        count=len(dumps),
        by_host=tuple((host, size, counts[host]) for host, size in largest),
        history=_history(dumps, removed, now),
    )


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
