"""Standard input of one channel, held back while nobody reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import asyncssh

HELD: Final = 4 << 20  # bytes that wait for a reader before the client is paused


class Input:
    """What the client sends, to be read piece by piece or poured into a sink."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = channel
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._sink: Callable[[bytes | memoryview], None] | None = None
        self._over = False
        self._paused = False
        self.lost: str | None = None  # why it ended without an end of input

    def put(self, data: bytes | memoryview) -> None:
        """The channel got `data`. A sink that keeps it copies it."""
        if self._sink is not None:
            self._sink(data)
            return
        self._waiting.append(bytes(data))
        self._size += len(data)
        self._news.set()
        if self._size >= HELD and not self._paused:
            self._paused = True
            self._channel.pause_reading()

    def end(self, lost: str | None = None) -> None:
        """No more will come; `lost` says why when it was not the client's end of input."""
        if not self._over:
            self._over, self.lost = True, lost
            self._news.set()

    async def next(self) -> bytes:
        """The next bytes; none at the end."""
        while not self._waiting and not self._over:
            self._news.clear()
            await self._news.wait()
        if not self._waiting:
            return b""
        data = self._waiting.popleft()
        self._size -= len(data)
        if self._paused and self._size < HELD // 2:
            self._paused = False
            self._channel.resume_reading()
        return data

    async def pour(self, sink: Callable[[bytes | memoryview], None], stop: asyncio.Future[Any]) -> None:
        """Give all input to `sink` as it comes, until its end or until `stop` is done."""
        self._sink = sink
        while self._waiting:
            sink(self._waiting.popleft())
        if self._paused:
            self._paused = False
            self._channel.resume_reading()
        ended = asyncio.ensure_future(self._ended())
        await asyncio.wait([ended, stop], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()

    async def _ended(self) -> None:
        while not self._over:
            self._news.clear()
            await self._news.wait()
