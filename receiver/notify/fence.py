"""Evidence for a kdump-fence: the beats of uploads under way, straight from their notes."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from receiver.notify import evidence
from receiver.notify.deliver import Failed, client, post
from receiver.notify.evidence import Beats, Seen
from receiver.notify.message import Message
from receiver.spool import incoming
from receiver.spool.dumps import Spool
from receiver.targets import Fence

MOVED_SECONDS: Final = 60.0  # a note is written aside and renamed: its directory changes with each
AT_ONCE: Final = 16  # posts under way
NAME: Final = socket.gethostname()


async def beat(target: Fence, spool: Spool) -> None:
    """Post what comes in, every few seconds, until cancelled.

    A beat that could not be posted is not tried again: the next one says more. A fence that
    does not answer is told of at `notify status`, by the ends of uploads, which wait for it.
    """
    beats = Beats(target, NAME)
    at_once = asyncio.Semaphore(AT_ONCE)
    while True:
        with suppress(Failed):
            async with client(target) as opened:
                while True:
                    now = time.time()
                    seen = await asyncio.to_thread(_notes, spool, now)
                    posts = beats.posts(seen, time.time())
                    await asyncio.gather(*(_one(opened, target, at_once, body) for body in posts))
                    await asyncio.sleep(target.beat_seconds)
        await asyncio.sleep(target.beat_seconds)


async def end(opened: httpx.AsyncClient, target: Fence, message: Message) -> None:
    """Tell of an upload's end, as old as it is. Raises Failed."""
    (entry,) = message.entries
    happened = dt.datetime.fromisoformat(entry.time).timestamp()
    body = evidence.ended(target, entry, NAME, happened, time.time())
    if body is not None:
        await _say(opened, target, body)


async def _one(
    opened: httpx.AsyncClient, target: Fence, at_once: asyncio.Semaphore, body: dict[str, Any]
) -> None:
    begun = time.monotonic()
    async with at_once:
        body["age_seconds"] += round(time.monotonic() - begun, 3)
        with suppress(Failed):
            await _say(opened, target, body)


async def _say(opened: httpx.AsyncClient, target: Fence, body: dict[str, Any]) -> None:
    """A node that the fence does not know (404) is no cluster's: that is no failure."""
    url = (target.url or "http://fence").rstrip("/") + "/v1/evidence"
    await post(opened, target, url, json.dumps(body).encode(), {"content-type": "application/json"})


def _notes(spool: Spool, now: float) -> list[Seen]:
    """The notes of files that grow, of directories that something was lately written into."""
    seen: list[Seen] = []
    with suppress(OSError), os.scandir(spool.root) as found:
        for directory in found:
            with suppress(OSError):
                lately = now - directory.stat(follow_symlinks=False).st_mtime < MOVED_SECONDS
                if lately and directory.is_dir(follow_symlinks=False):
                    seen += _notes_in(Path(directory.path))
    return seen


def _notes_in(directory: Path) -> Iterator[Seen]:
    for path in incoming.growing(directory):
        written = (
            path.with_name(path.name + incoming.NOTE).stat().st_mtime
        )  # before it is read: not too young
        note = incoming.read(path)
        if note is not None:
            yield Seen(note, written)
