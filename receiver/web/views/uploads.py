"""An upload under way, as its note tells it, worded for now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from receiver.spool.incoming import Incoming
from receiver.web.views import words
from receiver.web.views.words import Moment

SILENT_SECONDS: Final = 10.0  # without a byte: worth saying


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way. `fraction` is 0 to 1, None where the bytes do not say how much will come."""

    id: str
    dump: str
    directory: str
    host: str
    peer: str
    file: str
    tool: str
    started: Moment
    bytes: int
    fraction: float | None
    exact: bool
    percent: str
    pages: str
    rate: str
    left: str
    silent: str
    kernel: str


def upload(note: Incoming, now: float) -> Upload:
    """The view of one note."""
    last_heard = _epoch(note.started) + note.seconds
    silent = max(0.0, now - last_heard)
    is_silent = silent > SILENT_SECONDS
    pages = ""
    if note.total_pages:
        about = "" if note.exact else "about "
        pages = f"{note.done_pages or 0:,} of {about}{note.total_pages:,} pages"
    left = ""
    if note.eta_seconds is not None and not is_silent:
        left = f"{words.duration(max(1.0, note.eta_seconds - silent))} left"
    return Upload(
        id=note.id,
        dump=note.dump,
        directory=note.directory,
        host=note.host,
        peer=note.peer,
        file=note.requested[-1] if note.requested else "",
        tool=note.tool,
        started=words.moment(note.started, now),
        bytes=note.bytes,
        fraction=None if note.fraction is None else min(1.0, max(0.0, note.fraction)),
        exact=note.exact,
        percent=_percent(note.fraction),
        pages=pages,
        rate=words.rate(note.wire_bytes / note.seconds) if note.seconds > 0 else "",
        left=left,
        silent=f"no byte for {words.duration(silent)}" if is_silent else "",
        kernel=note.kernel_release or "",
    )


def uploads(notes: Iterable[Incoming], now: float) -> tuple[Upload, ...]:
    """All of them, the one that began first on top: rows stay where they are while numbers move."""
    return tuple(upload(note, now) for note in sorted(notes, key=lambda note: (note.started, note.id)))


def _percent(fraction: float | None) -> str:
    """Cut, never rounded up: 100 % is what a stored dump has."""
    return "" if fraction is None else f"{int(min(1.0, fraction) * 1000) / 10:.1f} %"


def _epoch(stamp: str) -> float:
    try:
        return dt.datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
