"""When a target gets its next message, and whether that is one event or a digest of many. Sans-IO.

At most `burst` messages in `period` seconds; what comes beyond waits for the end of the
period and then goes as one digest. A target that is down is asked again after longer and
longer pauses; an event that it refuses waits alone and lets the others pass.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

DIGEST_MAX: Final = 1000  # events in one digest
FIRST_SECONDS: Final = 2.0  # before the second try
LONGEST_SECONDS: Final = 600.0  # between two tries: so soon a target that is back is found so
ASKED_SECONDS: Final = 3600.0  # that a target may ask us to wait (Retry-After)
REFUSALS: Final = 5  # of one event before it is given up


@dataclass(frozen=True, slots=True)
class Limits:
    """`burst` messages in `period` seconds; 0 is any number."""

    burst: int
    period: float


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a target stands; times in seconds of the epoch, for it outlives the process."""

    sent: tuple[float, ...] = ()  # the newest messages, at most `burst`
    limited: bool = False  # the burst is used up
    failures: int = 0  # in a row
    down_until: float = 0.0
    digest_to: int | None = None  # a digest up to this row was tried: the next try is the same one


@dataclass(frozen=True, slots=True)
class Row:
    """One event that waits, as far as the pace cares."""

    id: int
    attempts: int
    next_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (None: before there is something new)."""

    until: float | None


@dataclass(frozen=True, slots=True)
class Send:
    """Tell of these rows, several of them as one digest."""

    rows: tuple[int, ...]
    digest: bool
    attempts: int = 0  # that were made with the one row


def decide(pace: Pace, limits: Limits, waiting: Sequence[Row], now: float) -> Wait | Send:
    """What to do for a target now; `waiting` is in the order of ids."""
    if not waiting:
        return Wait(None)
    if now < pace.down_until:
        return Wait(pace.down_until)
    due = [row for row in waiting if row.next_at <= now]
    if not due:
        return Wait(min(row.next_at for row in waiting))
    if pace.digest_to is not None:
        again = tuple(row.id for row in due if row.id <= pace.digest_to)
        if again:
            return Send(again[:DIGEST_MAX], digest=True)
    if not limits.burst or not pace.limited:
        return Send((due[0].id,), digest=False, attempts=due[0].attempts)
    free = max(pace.sent, default=0.0) + limits.period
    if now < free:
        return Wait(free)
    if len(due) == 1:
        return Send((due[0].id,), digest=False, attempts=due[0].attempts)
    return Send(tuple(row.id for row in due[:DIGEST_MAX]), digest=True)


def sent(pace: Pace, limits: Limits, send: Send, now: float) -> Pace:
    """After a message that was taken."""
    pace = replace(pace, failures=0, down_until=0.0, digest_to=None)
    if not limits.burst:
        return replace(pace, sent=(), limited=False)
    if send.digest:
        return replace(pace, sent=(now,), limited=True)
    recent = () if pace.limited else tuple(at for at in pace.sent if now - limits.period < at <= now)
    recent = (*recent, now)
    return replace(pace, sent=recent[-limits.burst :], limited=len(recent) >= limits.burst)


def failed(pace: Pace, send: Send, now: float, luck: float, asked: float = 0.0) -> Pace:
    """After one that found the target down; `luck` in 0..1, `asked` what the target said to wait."""
    failures = pace.failures + 1
    pause = max(backoff(failures, luck), min(asked, ASKED_SECONDS))
    last = send.rows[-1] if send.digest else pace.digest_to
    return replace(pace, failures=failures, down_until=now + pause, digest_to=last)


def backoff(attempts: int, luck: float) -> float:
    """Seconds before the next try: doubling, half of it by luck, so that many do not come at once."""
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempts - 1, 30))
    return longest * (0.5 + luck / 2)


def as_json(pace: Pace) -> str:
    """For the outbox."""
    return json.dumps(asdict(pace))


def from_json(text: str) -> Pace:
    """What `as_json` wrote."""
    fields = json.loads(text)
    return Pace(**fields | {"sent": tuple(fields["sent"])})
