"""The room for dumps."""

from __future__ import annotations

import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from receiver.catalogue.store import Query
from receiver.web.pages.render import page
from receiver.web.pages.state import state_of
from receiver.web.plots.area import area


async def show(request: Request) -> Response:
    """``GET /space``."""
    shelf, now = state_of(request).shelf, time.time()
    room = await run_in_threadpool(lambda: shelf.room(shelf.briefs(Query()), now))
    plot = area("Bytes of dumps on the disk by day", room.history, room.dumps + room.available)
    return page(request, "space.html", room=room, plot=plot)
