"""Numbers and times in words, as people say them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
DATED_SECONDS: Final = 14 * 86_400  # what is older is told by its date


@dataclass(frozen=True, slots=True)
class Moment:
    """A time three ways: for machines, exact for people, and how long ago it was."""

    iso: str  # UTC, ISO 8601
    exact: str
    ago: str
    seconds: float  # of the epoch


def size(count: int) -> str:
    """Bytes, units of 1024: ``4.3 MiB``."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            digits = 0 if unit == "B" or amount >= 100 else 1
            return f"{amount:,.{digits}f} {unit}"
        amount /= 1024
    raise AssertionError


def rate(bytes_per_second: float) -> str:
    """``112 MiB/s``."""
    return f"{size(int(bytes_per_second))}/s"


def duration(seconds: float) -> str:
    """The two largest units that count: ``38 s``, ``4 min 12 s``, ``2 h 5 min``, ``3 d 4 h``."""
    left = max(0, round(seconds))
    if left >= 60 * 86_400:
        return f"{left // 86_400} d"
    said: list[str] = []
    for unit, length in _STEPS:
        count, rest = divmod(left, length)
        if count or (unit == "s" and not said):
            said.append(f"{count} {unit}")
            left = rest
        elif said:
            break
        if len(said) == 2:
            break
    return " ".join(said)


def ago(seconds: float) -> str:
    """``just now``, ``38 s ago``, ``5 min ago``, ``2 days ago``; ``in 5 min`` for what is to come."""
    if abs(seconds) < 5:
        return "just now"
    length = abs(seconds)
    if length < 60:
        said = f"{length:.0f} s"
    elif length < 3600:
        said = f"{length // 60:.0f} min"
    elif length < 86_400:
        said = f"{length // 3600:.0f} h"
    else:
        days = int(length // 86_400)
        said = f"{days} day{'s' * (days != 1)}"
    return f"{said} ago" if seconds > 0 else f"in {said}"


def moment(when: str | float, now: float) -> Moment:
    """`when` as ISO 8601 or seconds of the epoch. A time that cannot be read is shown as it is."""
    try:
        at = (
            dt.datetime.fromisoformat(when)
            if isinstance(when, str)
            else dt.datetime.fromtimestamp(when, dt.UTC)
        )
        at = at.replace(tzinfo=at.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (ValueError, OverflowError, OSError):
        return Moment("", str(when), str(when), 0.0)
    seconds = at.timestamp()
    exact = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    passed = now - seconds
    said = at.strftime("%Y-%m-%d") if passed > DATED_SECONDS else ago(passed)
    return Moment(at.strftime("%Y-%m-%dT%H:%M:%SZ"), exact, said, seconds)


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 dump``, ``3 dumps``, ``2 hosts``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
