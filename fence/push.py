"""Tells others: webhooks and programs, each with its own place in the journal.

The journal is the queue: bounded by its age and size, and it survives a restart. Each target gets its
events in their order, each at least once, tried again with growing pauses until it is too old for it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from typing import Protocol

import trio

from fence.cloud import Stored, cloud_event
from fence.events import GRADES, Grade
from fence.journal import Journal
from fence.settings import Program, Push, Webhook

RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)  # the last one again and again
PAGE = 100

log = logging.getLogger("kdump-fence")


class Failed(Exception):
    """The target did not take the event. ``final``: nor will it, however often it is tried."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Target(Protocol):
    """Takes a CloudEvent; raises Failed."""

    async def __call__(self, stored: Stored, event: str) -> None: ...


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


class ProgramTarget:
    """Runs a program: the CloudEvent on its stdin, the most useful of it in its environment."""

    def __init__(self, settings: Program) -> None:
        self._settings = settings

    async def __call__(self, stored: Stored, event: str) -> None:
        """Raises Failed where it cannot be run, ends with another status than 0, or takes too long."""
        data = json.loads(stored.data)
        environment = {
            "KDUMP_FENCE_ID": str(stored.id),
            "KDUMP_FENCE_EVENT": stored.kind,
            "KDUMP_FENCE_NODE": stored.node or "",
            "KDUMP_FENCE_GRADE": str(data.get("grade", "")),
            "KDUMP_FENCE_STATE": str(data.get("state", "")),
        }
        with trio.move_on_after(self._settings.timeout_seconds) as limit:
            try:
                done = await trio.run_process(
                    list(self._settings.argv),
                    stdin=event.encode(),
                    stdout=2,  # ours is for the ready line
                    check=False,
                    env=os.environ | environment,
                )
            except OSError as error:
                raise Failed(f"{self._settings.argv[0]}: {error.strerror}") from None
        if limit.cancelled_caught:
            raise Failed(f"{self._settings.argv[0]} took longer than {self._settings.timeout_seconds:g} s")
        if done.returncode:
            raise Failed(f"{self._settings.argv[0]} ended with {done.returncode}")


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
