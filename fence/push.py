"""Tells others: webhooks and programs, each with its own place in the journal.

The journal is the queue: bounded by its age and size, and it survives a restart. Each target gets its
events in their order, each at least once, tried again with growing pauses until it is too old for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase

import trio

from fence.cloud import Stored, cloud_event
from fence.events import GRADES, Grade
from fence.journal import Journal
from fence.program import ProgramTarget
from fence.settings import Program, Push, Webhook
from fence.target import Failed, Target

RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)  # the last one again and again
PAGE = 100

log = logging.getLogger("kdump-fence")


class Pusher:
    """One webhook or program."""

    def __init__(
        self,
        settings: Webhook | Program,
        journal: Journal,
        after: int,
        source: str,
        wall: Callable[[], float],
    ) -> None:
        """``after``: the id of the last event it is done with."""
        self._settings = settings
        self._journal = journal
        self._after = min(after, journal.last)  # the journal may be another than it was
        self._source = source
        self._wall = wall
        self.name = consumer(settings)
        self.done = 0
        self.given_up = 0
        self.problem: str | None = None

    @property
    def behind(self) -> int:
        """How many events it has not come to yet."""
        return max(0, self._journal.last - self._after)

    async def run(self) -> None:
        """Deliver for ever."""
        async with AsyncExitStack() as stack:
            target = await self._target(stack)
            while True:
                page = await self._journal.since(self._after, PAGE)
                for stored in page:
                    if wanted(self._settings, stored):
                        await self._deliver(target, stored)
                    self._after = stored.id
                    self._journal.advance(self.name, stored.id)
                if not page:
                    await self._journal.news(self._after)

    async def _target(self, stack: AsyncExitStack) -> Target:
        match self._settings:
            case Webhook():
                from fence.webhook import open_webhook  # httpx costs 10 MB: only where it is used

                return await stack.enter_async_context(open_webhook(self._settings))
            case Program():
                return ProgramTarget(self._settings)

    async def _deliver(self, target: Target, stored: Stored) -> None:
        event = cloud_event(stored, self._source)
        for attempt in range(1 << 30):
            if self._wall() - stored.time > self._settings.max_age_seconds:
                self._give_up(stored, self.problem or "too old when its turn came")
                return
            try:
                await target(stored, event)
            except Failed as error:
                self.problem = f"{self.name}: {error}"
                if error.final:
                    self._give_up(stored, str(error))
                    return
            else:
                self.done += 1
                self.problem = None
                return
            await trio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])

    def _give_up(self, stored: Stored, reason: str) -> None:
        self.given_up += 1
        about = (json.dumps(self.name), stored.id, stored.kind, json.dumps(reason))
        log.warning("push.given-up target=%s event=%d kind=%s reason=%s", *about)


def consumer(settings: Push) -> str:
    """Its name in the journal."""
    return f"{type(settings).__name__.lower()} {settings.name}"


def wanted(settings: Push, stored: Stored) -> bool:
    """Whether the settings ask for this event."""
    if not any(fnmatchcase(stored.kind, pattern) for pattern in settings.events):
        return False
    if settings.min_grade is Grade.NONE:
        return True
    return GRADES.get(json.loads(stored.data).get("grade", ""), Grade.NONE) >= settings.min_grade
