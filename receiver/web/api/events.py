"""What happened: a page of the journal, or a stream of it that goes on where the last one broke off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from receiver.catalogue.journal import Entry, Journal
from receiver.web.api import models
from receiver.web.api.endpoint import JSON, Ask
from receiver.web.problem import Refused

STREAM: Final = "text/event-stream"
STREAMS_MAX: Final = 100
LOOK_SECONDS: Final = 0.5
QUIET_SECONDS: Final = 15.0  # after which a comment says that the stream lives
AGAIN_MS: Final = 2000  # that a client waits before it comes again
BATCH: Final = 200
ID_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events."""

    names: tuple[str, ...] | None
    host: str | None
    dump: str | None

    def after(self, journal: Journal, id: int, limit: int) -> list[Entry]:  # noqa: A002  # the journal's word
        """Of the journal."""
        return journal.after(id, limit, names=self.names, host=self.host, dump=self.dump)


class Streams:
    """How many run, in this process."""

    running = 0


async def events(ask: Ask) -> Response:
    """JSON, or server-sent events for those who accept them."""
    asked: models.EventQuery = ask.query
    names = tuple(filter(None, asked.name.split(","))) if asked.name else None
    wanted = Filter(names, asked.host, asked.dump)
    if STREAM in ask.request.headers.get("accept", ""):
        return await _stream(ask, wanted, asked.after)
    page = await _reading(lambda: _page(ask.desk.journal, wanted, asked))
    return Response(page.model_dump_json(), media_type=JSON)


def _page(journal: Journal, wanted: Filter, asked: models.EventQuery) -> models.Events:
    last = journal.last_id()
    if asked.after is None:
        found = journal.newest(asked.limit, names=wanted.names, host=wanted.host, dump=wanted.dump)
    else:
        found = wanted.after(journal, asked.after, asked.limit)
        last = max(last, asked.after)
    full = len(found) == asked.limit and asked.after is not None
    views = [models.EventView(**asdict(entry)) for entry in found]
    return models.Events(events=views, last=found[-1].id if full else max([last, *(one.id for one in found)]))


async def _stream(ask: Ask, wanted: Filter, after: int | None) -> Response:
    if Streams.running >= STREAMS_MAX:
        raise Refused(503, "too many streams are open already", headers={"retry-after": "30"})
    said = ask.request.headers.get("last-event-id")
    if said is not None:
        if not (said.isascii() and said.isdigit() and len(said) <= ID_DIGITS):
            raise Refused(422, "Last-Event-ID: no id that this server gave")
        after = int(said)
    journal = ask.desk.journal
    last = await _reading(journal.last_id)
    start = last if after is None else min(after, last)  # an id of a journal that is gone: from now on
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_told(journal, wanted, start), media_type=STREAM, headers=headers)


async def _told(journal: Journal, wanted: Filter, after: int) -> AsyncIterator[str]:
    Streams.running += 1
    try:
        yield f"retry: {AGAIN_MS}\n: kdump-receiver\n\n"
        quiet = 0.0
        seen = -1
        while True:
            try:
                last = await run_in_threadpool(journal.last_id)
                found = [] if last == seen else await run_in_threadpool(wanted.after, journal, after, BATCH)
            except sa.exc.SQLAlchemyError:  # away: the stream waits for it
                last, found = seen, []
            for entry in found:
                yield _event(entry)
            if found:
                after, quiet = found[-1].id, 0.0
            if len(found) < BATCH:
                seen, after = last, max(after, last)
                await asyncio.sleep(LOOK_SECONDS)
                quiet += LOOK_SECONDS
            if quiet >= QUIET_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
    finally:
        Streams.running -= 1


def _event(entry: Entry) -> str:
    """ASCII on one line: what a client named breaks no frame."""
    return f"id: {entry.id}\nevent: {entry.name}\ndata: {json.dumps(asdict(entry))}\n\n"


async def _reading(read: Any) -> Any:
    try:
        return await run_in_threadpool(read)
    except sa.exc.SQLAlchemyError as error:
        raise Refused(503, f"the journal cannot be read: {str(error).splitlines()[0][:300]}") from error
