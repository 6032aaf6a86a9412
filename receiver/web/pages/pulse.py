"""The overview as it is now: looked at once a second for all who watch, drawn where it may have changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from receiver.catalogue.brief import occurrences
from receiver.catalogue.store import Query
from receiver.spool.incoming import Incoming
from receiver.web.pages.fences import FenceClient
from receiver.web.pages.render import fragment
from receiver.web.pages.shelf import Shelf
from receiver.web.plots.stacked import Layer, stacked
from receiver.web.views import crashes
from receiver.web.views.overview import Overview, overview
from receiver.web.views.uploads import uploads

LOOK_SECONDS: Final = 1.0
SLOW_SECONDS: Final = 15.0  # after which everything is drawn again though nothing was told
LISTED: Final = 12  # dumps
PARTS: Final = ("summary", "uploads", "groups", "dumps", "hosts", "space")


@dataclass
class Pulse:
    """One for the process."""

    shelf: Shelf
    fence: FenceClient

    def __post_init__(self) -> None:
        self._lock = asyncio.Lock()
        self._looked = -LOOK_SECONDS
        self._drawn: tuple[Any, ...] = ()
        self._pieces: dict[str, str] = {}

    async def context(self) -> dict[str, Any]:
        """What the overview's template is filled with."""
        return await self._draw(await run_in_threadpool(self.shelf.live))

    async def pieces(self) -> dict[str, str]:
        """The parts of the overview by name, as HTML, at most LOOK_SECONDS old."""
        async with self._lock:
            if time.monotonic() - self._looked >= LOOK_SECONDS * 0.9:
                await self._look()
                self._looked = time.monotonic()
            return dict(self._pieces)

    async def _look(self) -> None:
        notes = await run_in_threadpool(self.shelf.live)
        last = await run_in_threadpool(self.shelf.last_event)
        version = (last, tuple(sorted(note.id for note in notes)), time.monotonic() // SLOW_SECONDS)
        if version != self._drawn:
            context = await self._draw(notes)
            self._pieces = {name: fragment(f"overview/{name}.html", **context) for name in PARTS}
            self._drawn = version
        elif notes:
            under_way = uploads(notes, time.time())
            self._pieces["uploads"] = fragment("overview/uploads.html", uploads=under_way)

    async def _draw(self, notes: list[Incoming]) -> dict[str, Any]:
        fence = await self.fence.nodes()
        now = time.time()

        def read() -> Overview:
            dumps = self.shelf.briefs(Query())
            return overview(
                notes=notes,
                dumps=dumps,
                listed=LISTED,
                groups=crashes.group_rows(occurrences(dumps), now),
                room=self.shelf.room(dumps, now),
                known=self.shelf.known(notes, fence),
                fence=fence,
                fence_is_set=self.fence.is_set,
                now=now,
            )

        seen = await run_in_threadpool(read)
        layers = [Layer(one.title, one.counts) for one in seen.timeline.series]
        plot = stacked("Crashes by day and group", seen.timeline.days, layers)
        return {"seen": seen, "uploads": seen.uploads, "plot": plot}
