"""Crashes of one cause, counted: how often, where, since when, and whether it grows.

Three views of repetition, after Intel's field practice (Linux Journal 222, 2012): one host again and again
(suspect the machine), one hardware model (suspect the model or its driver), one reason on many (suspect the
kernel).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

DAY = 86_400.0
PERIODS = 8  # of a trend, the last one ending now
AGAIN = 3  # crashes of one host that make it suspect

Spread = Literal["once", "host", "model", "reason"]
Course = Literal["new", "rising", "steady", "falling", "quiet"]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One crash: ``seconds`` is its time (Unix), ``hardware`` the machine's model as the kernel prints it."""

    dump: str
    host: str
    seconds: float
    signature: str
    title: str
    crash_class: str
    kernel: str | None = None
    hardware: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """All crashes of one signature.

    ``hosts``, ``kernels`` and ``models`` are sorted, the most frequent first. ``trend`` counts the crashes of
    the last PERIODS periods, the oldest first; ``spread`` says what repeats.
    """

    signature: str
    title: str
    crash_class: str
    count: int
    hosts: tuple[str, ...]
    kernels: tuple[str, ...]
    models: tuple[str, ...]
    first_seen: float
    last_seen: float
    trend: tuple[int, ...]
    course: Course
    spread: Spread
    dumps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """What repeats under one name: a host, a hardware model, a reason; the most frequent signature first."""

    view: Spread
    name: str
    count: int
    hosts: tuple[str, ...]
    signatures: tuple[str, ...]
    first_seen: float
    last_seen: float


def groups(occurrences: Iterable[Occurrence], now: float, period: float = 7 * DAY) -> list[Group]:
    """One group for each signature, the most frequent first, then the latest. ``period`` in seconds."""
    everything = list(occurrences)
    models = {crash.hardware for crash in everything if crash.hardware}
    sorted_by: defaultdict[str, list[Occurrence]] = defaultdict(list)
    for crash in everything:
        sorted_by[crash.signature].append(crash)
    found = [_group(crashes, now, period, len(models)) for crashes in sorted_by.values()]
    return sorted(found, key=lambda group: (-group.count, -group.last_seen, group.signature))


def _group(crashes: list[Occurrence], now: float, period: float, models_at_all: int) -> Group:
    crashes = sorted(crashes, key=lambda crash: (crash.seconds, crash.dump))
    latest = crashes[-1]
    trend = [0] * PERIODS
    for crash in crashes:
        ago = int(max(0.0, now - crash.seconds) // period)
        if ago < PERIODS:
            trend[PERIODS - 1 - ago] += 1
    hosts = _frequent(crash.host for crash in crashes)
    models = _frequent(crash.hardware for crash in crashes)
    return Group(
        signature=latest.signature,
        title=latest.title,
        crash_class=latest.crash_class,
        count=len(crashes),
        hosts=hosts,
        kernels=_frequent(crash.kernel for crash in crashes),
        models=models,
        first_seen=crashes[0].seconds,
        last_seen=latest.seconds,
        trend=tuple(trend),
        course=_course(trend, now - crashes[0].seconds < period),
        spread=_spread(len(crashes), len(hosts), len(models), models_at_all),
        dumps=tuple(crash.dump for crash in crashes),
    )


def _frequent(names: Iterable[str | None]) -> tuple[str, ...]:
    counted = Counter(name for name in names if name)
    return tuple(sorted(counted, key=lambda name: (-counted[name], name)))


def _course(trend: Sequence[int], is_new: bool) -> Course:
    """The last two periods against the two before: a single quiet one is no end."""
    recent, before = sum(trend[-2:]), sum(trend[-4:-2])
    if is_new:
        return "new"
    if not recent:
        return "quiet"
    if recent > before * 1.5:
        return "rising"
    return "falling" if before > recent * 1.5 else "steady"


def _spread(crashes: int, hosts: int, models: int, models_at_all: int) -> Spread:
    if crashes == 1:
        return "once"
    if hosts == 1:
        return "host"
    # One model says something only where others crash, too.
    return "model" if models == 1 < models_at_all else "reason"


def repetitions(occurrences: Iterable[Occurrence], now: float) -> list[Repetition]:
    """The three views in one list, the most frequent first: hosts again and again, models, reasons."""
    everything = list(occurrences)
    by_host: defaultdict[str, list[Occurrence]] = defaultdict(list)
    by_signature = {group.signature: group for group in groups(everything, now)}
    by_model: defaultdict[str, list[Occurrence]] = defaultdict(list)
    by_reason: defaultdict[str, list[Occurrence]] = defaultdict(list)
    for crash in everything:
        by_host[crash.host].append(crash)
        match by_signature[crash.signature].spread:
            case "model" if crash.hardware:
                by_model[crash.hardware].append(crash)
            case "reason":
                by_reason[crash.title].append(crash)
    found = [_repetition("host", host, crashes) for host, crashes in by_host.items() if len(crashes) >= AGAIN]
    found += [_repetition("model", model, crashes) for model, crashes in by_model.items()]
    found += [_repetition("reason", title, crashes) for title, crashes in by_reason.items()]
    return sorted(found, key=lambda one: (-one.count, one.view, one.name))


def _repetition(view: Spread, name: str, crashes: Sequence[Occurrence]) -> Repetition:
    return Repetition(
        view=view,
        name=name,
        count=len(crashes),
        hosts=_frequent(crash.host for crash in crashes),
        signatures=_frequent(crash.signature for crash in crashes),
        first_seen=min(crash.seconds for crash in crashes),
        last_seen=max(crash.seconds for crash in crashes),
    )
