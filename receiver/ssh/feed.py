"""From the event loop to the disk: bytes handed to a worker thread in large batches.

Small hand-overs lose a third of the throughput to the interpreter lock, so a batch
waits until it is large or old. It is one piece of memory: the thread that hashes and
writes it takes the lock once, not once a packet. What is held is bounded: the client
is paused while the disk is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from mmap import MAP_PRIVATE, mmap
from typing import Final

from receiver.spool.writer import Broken, Stored, Upload

BATCH: Final = 2 << 20  # bytes
PAUSE: Final = 4 << 20  # bytes that wait for the thread before the client does
ROOM: Final = PAUSE + (1 << 20)  # bytes of a batch's memory: what was under way when the client was paused
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
        self._batch: mmap | None = None  # anonymous: what a slow client leaves empty takes no memory
        self._spare: mmap | None = None
        self._size = 0  # bytes of `_batch` in use
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._paused = False
        self.broken: asyncio.Future[Broken] = self._loop.create_future()  # why no more bytes are taken

    def push(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the wire."""
        if self.broken.done():
            return
        self._append(data)
        if self._size >= BATCH:
            if self._writing is None:
                self._hand_over()
            elif not self._paused and self._size >= PAUSE:
                self._paused = True
                self._pause()
        elif self._timer is None and self._writing is None:
            self._timer = self._loop.call_later(OLD_SECONDS, self._hand_over)

    def _append(self, data: bytes | memoryview) -> None:
        end = self._size + len(data)
        if self._batch is None:
            self._batch, self._spare = self._spare or mmap(-1, ROOM, MAP_PRIVATE), None
        if end > len(self._batch):
            larger = mmap(-1, 2 * end, MAP_PRIVATE)
            larger[: self._size] = self._batch[: self._size]
            self._batch = larger
        self._batch[self._size : end] = data
        self._size = end

    async def finish(self, broken: str | None = None, *, requested: Sequence[str] = ()) -> Stored:
        """Everything has come, or (`broken`) no more will: store it. Raises OSError as Upload.finish does."""
        while not self.broken.done() and (self._writing or self._size):
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
        batch, size = self._batch, self._size
        if batch is None:
            return
        self._batch, self._size = None, 0
        self._writing = self._loop.run_in_executor(self._executor, self._write, batch, size)
        # A slow client's memory is let go; a fast one needs it again at once.
        again = batch if size >= BATCH and len(batch) == ROOM else None
        self._writing.add_done_callback(partial(self._written, again))

    def _write(self, batch: mmap, size: int) -> None:
        self._upload.write(memoryview(batch)[:size])

    def _written(self, again: mmap | None, writing: asyncio.Future[None]) -> None:
        self._writing, self._spare = None, again
        error = writing.exception()
        if error is not None:
            self._batch, self._size = None, 0
            if not self.broken.done():
                self.broken.set_result(error if isinstance(error, Broken) else Broken(repr(error)))
        elif self._size >= BATCH:
            self._hand_over()
        elif self._size:
            self._timer = self._loop.call_later(OLD_SECONDS, self._hand_over)
        if self._paused:
            self._paused = False
            self._resume()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
