"""From the event loop to the disk: bytes handed to a worker thread in large batches.

Small hand-overs lose a third of the throughput to the interpreter lock, so a batch
waits until it is large or old. What is held is bounded: the client is paused while
the disk is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from receiver.spool.writer import Broken, Stored, Upload

BATCH: Final = 2 << 20  # bytes
OLD_SECONDS: Final = 0.05  # a smaller batch waits no longer


class Feed:
    """The loop's end of one upload. `pause` and `resume` hold the client back."""

    def __init__(
        self, upload: Upload, executor: Executor, pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self._upload = upload
        self._executor = executor
        self._pause = pause
        self._resume = resume
        self._loop = asyncio.get_running_loop()
        self._batch: list[bytes | memoryview] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._paused = False
        self.broken: asyncio.Future[Broken] = self._loop.create_future()  # why no more bytes are taken

    def push(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the wire."""
        if self.broken.done():
            return
        self._batch.append(data)
        self._size += len(data)
        if self._size >= BATCH:
            if self._writing is None:
                self._hand_over()
            elif not self._paused:
                self._paused = True
                self._pause()
        elif self._timer is None and self._writing is None:
            self._timer = self._loop.call_later(OLD_SECONDS, self._hand_over)

    async def finish(self, broken: str | None = None, *, requested: Sequence[str] = ()) -> Stored:
        """Everything has come, or (`broken`) no more will: store it. Raises OSError as Upload.finish does."""
        while not self.broken.done() and (self._writing or self._batch):
            if self._writing is None:
                self._hand_over()
            if self._writing is not None:
                await asyncio.wait([self._writing])
        self._cancel_timer()
        return await self._loop.run_in_executor(
            self._executor, lambda: self._upload.finish(broken, requested=requested)
        )

    def _hand_over(self) -> None:
        self._cancel_timer()
        batch, self._batch, self._size = self._batch, [], 0
        self._writing = self._loop.run_in_executor(self._executor, self._upload.write, batch)
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = writing.exception()
        if error is not None:
            self._batch, self._size = [], 0
            if not self.broken.done():
                self.broken.set_result(error if isinstance(error, Broken) else Broken(repr(error)))
        elif self._size >= BATCH:
            self._hand_over()
        elif self._batch:
            self._timer = self._loop.call_later(OLD_SECONDS, self._hand_over)
        if self._paused:
            self._paused = False
            self._resume()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
