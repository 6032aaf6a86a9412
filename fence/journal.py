"""The journal: every event gets an id, is written durably, and is then told to whoever follows.

Consumers (the stream, webhooks, programs) all read it by id. The last events are kept in memory, so that
following costs no disk; who falls behind reads the file. Where the disk does not take them, or hangs,
events are told all the same, and written when it does again.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import trio

from fence.cloud import Stored
from fence.events import Event, NodeEvent, data_of
from fence.store import Store

RECENT = 2000  # events kept in memory
UNWRITTEN_MAX = 10_000  # events that wait for the disk; the oldest are given up, counted
PATIENCE_SECONDS = 1.0  # how long telling waits for writing
RETRY_SECONDS = 1.0
PRUNE_SECONDS = 60.0

T = TypeVar("T")


class Journal:
    """Shell around `Store`, whose calls it makes one at a time in a thread. ``run`` must run."""

    def __init__(
        self, store: Store, wall: Callable[[], float], *, keep_seconds: float, max_bytes: int
    ) -> None:
        self._store = store
        self._wall = wall
        self._keep_seconds = keep_seconds
        self._max_bytes = max_bytes
        self._limiter = trio.CapacityLimiter(1)
        self._untold: deque[Stored] = deque()
        self._unwritten: deque[Stored] = deque()
        self._recent: deque[Stored] = deque(maxlen=RECENT)
        self._standing: dict[str, tuple[str, str]] = {}
        self._consumers: dict[str, int] = {}
        self._wanted = self._done = 0  # turns of the writer: asked for, over
        self._more, self._work, self._turn, self._told = (trio.Event() for _ in range(4))
        self.last = store.last_id()  # the newest id that was told
        self._next = self.last + 1
        self.lost = 0  # events that no disk ever took
        self.problem: str | None = None

    # Giving

    def record(self, events: Iterable[Event]) -> None:
        """Take events; they are written and told soon. Never waits."""
        wall = self._wall()
        for event in events:
            node = event.node if isinstance(event, NodeEvent) else None
            data = json.dumps(data_of(event), separators=(",", ":"))
            stored = Stored(self._next, wall, event.kind, node, data)
            self._next += 1
            self._untold.append(stored)
            self._unwritten.append(stored)
            if len(self._unwritten) > UNWRITTEN_MAX:
                self._unwritten.popleft()
                self.lost += 1
        if self._untold:
            self._more.set()

    def keep(self, node: str, clock: str, line: str) -> None:
        """Take what must be remembered of a node; it is written soon."""
        self._standing[node] = (clock, line)
        self._work.set()

    def advance(self, consumer: str, last: int) -> None:
        """A consumer has done everything up to this id."""
        self._consumers[consumer] = last
        self._work.set()

    async def flush(self, patience: float = 5.0) -> bool:
        """Wait until all that was given is on the disk; False: the disk does not take it."""
        with trio.move_on_after(patience) as scope:
            await self._written()
        return not scope.cancelled_caught and self.problem is None

    # Reading

    async def since(self, after: int, limit: int, node: str | None = None) -> list[Stored]:
        """Events after an id, oldest first."""
        if after > self.last:
            after = 0  # an id of a journal that is gone: rather twice than never
        if node is None and self._recent and self._recent[0].id <= after + 1:
            return self._remembered(after, limit, node)
        try:
            found = await self._in_thread(lambda: self._store.read(after, limit, node))
        except sqlite3.Error as error:
            self.problem = f"{self._store.path} cannot be read: {error}"
            return self._remembered(after, limit, node)
        return [event for event in found if event.id <= self.last]

    async def news(self, after: int) -> None:
        """Wait until there are events after an id."""
        while self.last <= after:
            await self._told.wait()

    def _remembered(self, after: int, limit: int, node: str | None) -> list[Stored]:
        found = []
        for event in reversed(self._recent):
            if event.id <= after:
                break
            if node in (None, event.node):
                found.append(event)
        return found[::-1][:limit]

    # Working

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write and tell until cancelled, and write once more then."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell)
                nursery.start_soon(self._write)
                nursery.start_soon(self._prune)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                with suppress(sqlite3.Error):
                    await self._write_once()
                await self._in_thread(self._store.close)

    async def _tell(self) -> None:
        while True:
            await self._more.wait()
            self._more = trio.Event()
            batch = list(self._untold)
            self._untold.clear()
            with trio.move_on_after(PATIENCE_SECONDS):
                await self._written()
            self._recent.extend(batch)
            self.last = batch[-1].id
            self._told.set()
            self._told = trio.Event()

    async def _written(self) -> None:
        """Until the writer has had a whole turn that began after now."""
        self._wanted += 1
        mine = self._wanted
        self._work.set()
        while self._done < mine:
            await self._turn.wait()

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            try:
                await self._write_once()
            except sqlite3.Error as error:
                self.problem = f"{self._store.path} cannot be written: {error}"
                await trio.sleep(RETRY_SECONDS)
                self._work.set()
            else:
                self.problem = None

    async def _write_once(self) -> None:
        turn, events = self._wanted, list(self._unwritten)
        standing, self._standing = self._standing, {}
        consumers, self._consumers = self._consumers, {}
        lines = [(node, clock, line) for node, (clock, line) in standing.items()]
        try:
            await self._in_thread(lambda: self._store.write(events, lines, consumers.items()))
        except BaseException:
            self._standing = standing | self._standing
            self._consumers = consumers | self._consumers
            raise
        finally:
            self._done = turn
            self._turn.set()
            self._turn = trio.Event()
        while events and self._unwritten and self._unwritten[0].id <= events[-1].id:
            self._unwritten.popleft()

    async def _prune(self) -> None:
        while True:
            await trio.sleep(PRUNE_SECONDS)
            before = self._wall() - self._keep_seconds
            with suppress(sqlite3.Error):  # the writer meets the same and says so
                await self._in_thread(partial(self._store.prune, before, self._max_bytes))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._limiter)
