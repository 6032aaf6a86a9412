"""The overview, and the stream that keeps it true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from receiver.web.pages.pulse import LOOK_SECONDS
from receiver.web.pages.render import page
from receiver.web.pages.state import State, state_of

QUIET_SECONDS: Final = 20.0  # after which a comment says that the stream lives
WATCHERS_MAX: Final = 200


async def show(request: Request) -> Response:
    """``GET /``."""
    return page(request, "overview.html", **await state_of(request).pulse.context())


async def live(request: Request) -> Response:
    """``GET /live``: server-sent events, each a part of the overview that changed, as HTML."""
    state = state_of(request)
    if state.watchers >= WATCHERS_MAX:
        return PlainTextResponse("too many pages are open already", 503, {"retry-after": "30"})
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_stream(state), media_type="text/event-stream", headers=headers)


async def _stream(state: State) -> AsyncIterator[str]:
    sent: dict[str, str] = {}
    said = time.monotonic()
    state.watchers += 1
    try:
        yield ": kdump-receiver\n\n"
        while True:
            for name, text in (await state.pulse.pieces()).items():
                if sent.get(name) != text:
                    sent[name], said = text, time.monotonic()
                    yield event(name, text)
            if time.monotonic() - said > QUIET_SECONDS:
                said = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        state.watchers -= 1


def event(name: str, text: str) -> str:
    """One server-sent event; every line of `text` is data."""
    data = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"event: {name}\n{data}\n"
