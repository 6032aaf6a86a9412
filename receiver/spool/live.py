"""The uploads under way, of all dumps, and how fast they are."""

from __future__ import annotations

import datetime as dt
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver.spool import incoming
from receiver.spool.incoming import Incoming

MARGIN_SECONDS: Final = 600.0
WINDOW_SECONDS: Final = 15.0  # of the past, that tells how fast an upload is now
SILENT_SECONDS: Final = 10.0  # without a byte: not slow, but still


def uploads(root: Path, now: float, silence_seconds: float) -> Iterator[Incoming]:
    """The notes of the uploads that a process is writing.

    Each of them replaces its note in the dump's directory as its bytes come, and ends after
    `silence_seconds` without any: a directory that has not changed for longer holds none, and is
    not opened. So this takes a `stat` for each stored dump.
    """
    oldest = now - 2 * silence_seconds - MARGIN_SECONDS
    for directory in _changed_since(root, oldest):
        for path in incoming.growing(directory):
            if incoming.is_live(path) and (note := incoming.read(path)):
                yield note


def _changed_since(root: Path, oldest: float) -> Iterator[Path]:
    with os.scandir(root) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                try:
                    changed = entry.stat(follow_symlinks=False).st_mtime
                except FileNotFoundError:  # taken away just now
                    continue
                if changed >= oldest:
                    yield Path(entry.path)


@dataclass(frozen=True, slots=True)
class Moving:
    """An upload with its speed."""

    note: Incoming
    bytes_per_second: float  # of the wire, just now; 0 while it is still
    eta_seconds: float | None  # None where the bytes do not say how much will come, or none come
    silent_seconds: float  # since the last byte


class Pace:
    """How fast uploads are just now, from one look to the next."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[Incoming]] = {}

    def observe(self, notes: Iterable[Incoming], now: float) -> list[Moving]:
        """The uploads of this look, the oldest first. `now` is in seconds of the epoch."""
        seen: dict[str, deque[Incoming]] = {}
        for note in sorted(notes, key=lambda note: (note.started, note.host, note.id)):
            past = seen[note.id] = self._seen.get(note.id, deque())
            if not past or past[-1].seconds < note.seconds:
                past.append(note)
            while len(past) > 2 and note.seconds - past[1].seconds >= WINDOW_SECONDS:
                past.popleft()
        self._seen = seen
        return [_moving(past[0], past[-1], now) for past in seen.values()]


def _moving(first: Incoming, last: Incoming, now: float) -> Moving:
    begun = dt.datetime.fromisoformat(last.started).timestamp()
    silent = max(0.0, now - begun - last.seconds)
    if silent >= SILENT_SECONDS:
        return Moving(last, 0.0, None, silent)
    seconds = last.seconds - first.seconds
    if seconds <= 0:  # one look: the pace since its beginning
        rate = last.wire_bytes / max(1.0, last.seconds)
        eta = last.eta_seconds
    else:
        rate = (last.wire_bytes - first.wire_bytes) / seconds
        eta = last.eta_seconds
        if last.fraction is not None and first.fraction is not None and last.fraction > first.fraction:
            eta = (1 - last.fraction) * seconds / (last.fraction - first.fraction)
    return Moving(last, rate, None if eta is None else max(0.0, eta - silent), silent)
