"""Answers that take long: an event stream, and a wait that ends when the client goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Tell = Callable[[str], Awaitable[None]]
T = TypeVar("T")


class EventStream(Response):
    """What ``follow`` tells, until it ends or the client is gone. (An async generator would outlive both.)"""

    def __init__(self, follow: Callable[[Tell], Awaitable[None]]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._follow = follow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def tell(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        with suppress(ClientDisconnect):
            await until_gone(Request(scope, receive), lambda: self._follow(tell))
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_gone(request: Request, call: Callable[[], Awaitable[T]]) -> T:
    """What ``call`` gives, unless the client goes away first.

    Raises:
        ClientDisconnect: it went away; the call was cancelled.
    """
    results: list[T] = []
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            results.append(await call())
            nursery.cancel_scope.cancel()

        nursery.start_soon(work)
        while (await request.receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()
    if not results:
        raise ClientDisconnect
    return results[0]
