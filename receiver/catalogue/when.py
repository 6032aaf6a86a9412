"""Times as people ask for them, in the CLI, the page and the API alike."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

_AGO: Final = re.compile(
    r"(\d{1,6})\s*(?:(min)(?:ute)?s?|(s)(?:ec(?:ond)?s?)?|(m)|(h)(?:(?:ou)?rs?)?|(d)(?:ays?)?|(w)(?:eeks?)?)"
    r"(?:\s+ago)?"
)
_SECONDS: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def since(text: str, now: dt.datetime | None = None) -> str:
    """``2h``, ``3 days ago``, ``today``, ``2026-11-23`` or a whole time stamp: as the catalogue sorts it.

    Raises:
        ValueError: none of these; its text says what to say.
    """
    now = now or dt.datetime.now(dt.UTC)
    found = _AGO.fullmatch(text.strip())
    if found:
        unit = next(filter(None, found.groups()[1:]))
        when = now - dt.timedelta(seconds=min(int(found[1]) * _SECONDS[unit], now.timestamp()))
    elif text in {"today", "yesterday"}:
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        when = midnight - dt.timedelta(days=text == "yesterday")
    else:
        try:
            when = dt.datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            raise ValueError(f"{text[:80]!r}: say 2h, 3d, today, or 2026-11-23[T10:00]") from None
    return when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
