"""Crashes over time: groups with their occurrences counted by day, and who repeats."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from receiver.triage.groups import Course, Group, Occurrence, Spread, groups
from receiver.triage.report import SHORT
from receiver.web.views import words
from receiver.web.views.words import Moment

DAY: Final = 86_400
DAYS: Final = 30  # of the plots
SERIES: Final = 5  # groups that get a colour of their own; the others share one

SPREAD: Final[dict[Spread, str]] = {
    "once": "It happened once.",
    "host": "One machine again and again: suspect that machine.",
    "model": "One hardware model on several hosts: suspect the model, its firmware or its driver.",
    "reason": "Several hosts, whatever their model: suspect the kernel, or what runs on all of them.",
}
COURSE: Final[dict[Course, str]] = {
    "new": "new this week",
    "rising": "rising",
    "steady": "steady",
    "falling": "falling",
    "quiet": "quiet for two weeks",
}


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group in a list. `days` counts its crashes by day, the last one today, UTC."""

    signature: str
    short: str
    title: str
    crash_class: str
    count: int
    hosts: tuple[str, ...]
    kernels: tuple[str, ...]
    models: tuple[str, ...]
    first_seen: Moment
    last_seen: Moment
    days: tuple[int, ...]
    course: Course
    spread: Spread
    dumps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One group's bars; `signature` is "" for all the others together."""

    signature: str
    title: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Crashes a day, stacked by group, the most frequent first. `days` are dates, UTC."""

    days: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """Crashes of each day."""
        return tuple(sum(one.counts[day] for one in self.series) for day in range(len(self.days)))


def group_rows(occurrences: Iterable[Occurrence], now: float) -> tuple[GroupRow, ...]:
    """All groups; those with crashes in the plots' days first by how many, then the latest."""
    crashes = list(occurrences)
    by_day = _by_day(crashes, now)
    found = [_row(group, by_day, now) for group in groups(crashes, now)]
    return tuple(sorted(found, key=lambda row: (-sum(row.days), -row.last_seen.seconds, row.signature)))


def timeline(rows: Sequence[GroupRow], now: float) -> Timeline:
    """The plot of all groups: the first SERIES of `rows` each by itself."""
    today = int(now // DAY)
    days = tuple(_date(today - DAYS + 1 + n) for n in range(DAYS))
    seen = [row for row in rows if any(row.days)]
    series = [Series(row.signature, row.title, row.days) for row in seen[:SERIES]]
    if others := seen[SERIES:]:
        counts = tuple(sum(row.days[day] for row in others) for day in range(DAYS))
        series.append(Series("", words.count(len(others), "other group"), counts))
    return Timeline(days, tuple(series))


def by_name(names: Iterable[str | None]) -> tuple[tuple[str, int], ...]:
    """How often each: hosts, kernels, models of a group."""
    counted = Counter(name for name in names if name)
    return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _by_day(crashes: Iterable[Occurrence], now: float) -> dict[str, Counter[int]]:
    first = int(now // DAY) - DAYS + 1
    counted: dict[str, Counter[int]] = {}
    for crash in crashes:
        # A clock that is ahead puts a crash into tomorrow; it is shown today.
        day = min(int(crash.seconds // DAY) - first, DAYS - 1)
        if day >= 0:
            counted.setdefault(crash.signature, Counter())[day] += 1
    return counted


def _row(group: Group, by_day: dict[str, Counter[int]], now: float) -> GroupRow:
    counted = by_day.get(group.signature, Counter())
    return GroupRow(
        signature=group.signature,
        short=group.signature[:SHORT],
        title=group.title,
        crash_class=group.crash_class,
        count=group.count,
        hosts=group.hosts,
        kernels=group.kernels,
        models=group.models,
        first_seen=words.moment(group.first_seen, now),
        last_seen=words.moment(group.last_seen, now),
        days=tuple(counted[day] for day in range(DAYS)),
        course=group.course,
        spread=group.spread,
        dumps=group.dumps,
    )


def _date(day: int) -> str:
    return dt.datetime.fromtimestamp(day * DAY, dt.UTC).strftime("%Y-%m-%d")
