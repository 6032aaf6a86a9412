"""The thread that puts a serving process's events into the journal: nobody waits for it."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from receiver.catalogue.journal import Journal
from receiver.catalogue.rate import Rate
from receiver.events import Event, Trouble, Withheld

HELD: Final = 10_000  # events that wait for a database that is locked or away
BATCH: Final = 500  # in one transaction
AGAIN_SECONDS: Final = 2.0  # after a try that failed
IDLE_SECONDS: Final = 5.0  # between two looks for what was withheld
TRIM_SECONDS: Final = 600.0
CLOSE_SECONDS: Final = 5.0  # that the end of the process waits for the last ones


class JournalWriter:
    """Subscribe `hear` to the bus. What a database that is away makes us drop is counted, and told."""

    def __init__(
        self, journal: Journal, trouble: Callable[[Event], None], keep: int, keep_seconds: float
    ) -> None:
        """`trouble` is told, once and from the thread, when the journal cannot be written any more."""
        self._journal = journal
        self._trouble = trouble
        self._keep = keep
        self._keep_seconds = keep_seconds
        self._waiting: collections.deque[Event] = collections.deque()
        self._news = threading.Condition()
        self._rate = Rate()
        self._dropped = 0
        self._failing = False
        self._closing = False
        self._trimmed = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Take note; from any thread, at once."""
        with self._news:
            if not self._rate.passes(event, time.monotonic()):
                return
            if len(self._waiting) >= HELD:
                self._dropped += 1
                return
            self._waiting.append(event)
            self._news.notify()

    def close(self) -> None:
        """Write what waits, if that can be done soon."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not (self._closing and not self._waiting):
            with self._news:
                if not self._waiting and not self._closing:
                    self._news.wait(IDLE_SECONDS)
                self._waiting.extend(self._rate.withheld(time.monotonic(), all_of_it=self._closing))
                batch = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
            self._write(batch)

    def _write(self, batch: list[Event]) -> None:
        """One transaction; what could not be written waits on."""
        dropped = self._dropped
        lost = [Withheld("events", dropped, "the journal could not be written meanwhile")] if dropped else []
        try:
            self._journal.append([*batch, *lost])
            self._trim()
        except sa.exc.SQLAlchemyError as error:
            self._failed(error)
            return
        self._failing = False
        with self._news:
            for _ in batch:
                self._waiting.popleft()
            self._dropped -= dropped

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            why = str(error).splitlines()[0][:300]
            self._trouble(Trouble("journal", f"events wait to be written: {why}"))
        if self._closing:  # the end does not wait for a database; what is stored is told by the next start
            with self._news:
                self._waiting.clear()
        else:
            time.sleep(AGAIN_SECONDS)

    def _trim(self) -> None:
        now = time.monotonic()
        if now - self._trimmed >= TRIM_SECONDS:
            self._trimmed = now
            self._journal.trim(self._keep, self._keep_seconds, time.time())
