"""Dumps, their files, log and report."""

from __future__ import annotations

import base64
import binascii
import json
from contextlib import suppress
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from receiver import reports
from receiver.catalogue import when
from receiver.catalogue.store import Query
from receiver.spool import incoming
from receiver.spool.incoming import Incoming
from receiver.spool.manifest import OURS, Manifest, Pin
from receiver.web import download
from receiver.web.api import models
from receiver.web.api.endpoint import Ask
from receiver.web.pages.state import state_of
from receiver.web.problem import Refused

LOG_MAX: Final = 48 << 20  # bytes of a log


def list_dumps(ask: Ask) -> models.DumpList:
    """A page of them."""
    asked: models.DumpQuery = ask.query
    query = Query(
        host=asked.host,
        since=since(asked.since),
        verdict=asked.verdict,
        signature=asked.group,
        most=asked.limit + 1,
        behind=_behind(asked.cursor),
    )
    found = ask.desk.catalogue.briefs(query)
    page = found[: asked.limit]
    more = len(found) > len(page)
    return models.DumpList(dumps=page, next=_cursor(page[-1].date, page[-1].id) if more else None)


def show(ask: Ask) -> models.DumpDetail:
    """One dump."""
    dump = one(ask)
    return models.DumpDetail(dump=dump, receiving=_receiving(ask, dump))


def files(ask: Ask) -> models.Files:
    """What can be downloaded."""
    dump = one(ask)
    directory = ask.desk.spool.root / dump.directory
    return models.Files(
        files=list(dump.files), ours=sorted(name for name in OURS if (directory / name).is_file())
    )


async def file(ask: Ask) -> Response:
    """A file, or a range of it."""
    return await run_in_threadpool(lambda: _file(ask))


def _file(ask: Ask) -> Response:
    dump, name = one(ask), ask.path("name")
    stored = next((file for file in dump.files if file.name == name), None)
    if stored is None and name not in OURS:
        raise Refused(404, f"dump {dump.id} has no file {name!r}")
    path = ask.desk.spool.root / dump.directory / name
    filename = f"{dump.host}-{dump.id}-{name}"
    digest = stored.sha256 if stored else None
    return download.answer(ask.request, path, filename, digest)


def log(ask: Ask) -> Response:
    """The crashed kernel's log as text; of a dump that is still arriving, too."""
    dump = one(ask)
    directory = ask.desk.spool.root / dump.directory
    data = b""
    with suppress(OSError), (directory / reports.LOG).open("rb") as file:
        data = file.read(LOG_MAX)
    if not data:
        chosen, _ = reports.choose(reports.logs_of(directory, dump))
        data = chosen.data if chosen else b""
    if not data:
        raise Refused(404, f"no log was found in dump {dump.id}")
    # UTF-8 for whoever reads it; the bytes are as the kernel wrote them.
    return Response(data, media_type="text/plain; charset=utf-8")


def report(ask: Ask) -> dict[str, Any]:
    """report.json."""
    dump = one(ask)
    path = ask.desk.spool.root / dump.directory / reports.REPORT_JSON
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Refused(404, f"dump {dump.id} has no report (yet): no kernel log was found in it") from None
    except (OSError, ValueError):
        raise Refused(404, f"the report of {dump.id} is damaged; `kdump-receiver regroup` mends it") from None
    if not isinstance(found, dict):
        raise Refused(404, f"the report of {dump.id} is damaged; `kdump-receiver regroup` mends it")
    return found


def pin(ask: Ask) -> Pin:
    """`pin`."""
    body: models.PinInput = ask.body
    dump = one(ask)
    try:
        kept = state_of(ask.request).shelf.pin(dump.directory, ask.request.state.viewer.name, body.note)
    except FileNotFoundError:
        raise Refused(404, f"dump {dump.id} is gone") from None
    assert kept.pinned is not None  # noqa: S101  # pin() pins
    return kept.pinned


def unpin(ask: Ask) -> None:
    """`unpin`."""
    dump = one(ask)
    if dump.pinned is None:
        raise Refused(404, f"dump {dump.id} is not pinned")
    with suppress(FileNotFoundError):  # gone is unpinned, too
        state_of(ask.request).shelf.unpin(dump.directory, ask.request.state.viewer.name)


def uploads(ask: Ask) -> models.Uploads:
    """All that are under way."""
    return models.Uploads(uploads=state_of(ask.request).shelf.live())


def one(ask: Ask) -> Manifest:
    """The dump of the path. Raises Refused."""
    name = ask.path("id")
    found = list(ask.desk.catalogue.find(Query(id=name, most=2)))
    exact = [dump for dump in found if name in {dump.id, dump.directory}]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise Refused(404, f"more than one dump's id begins with {name!r}; say more of it")
    raise Refused(404, f"no dump {name!r}")


def since(text: str | None) -> str | None:
    """A time as people say it. Raises Refused."""
    try:
        return None if text is None else when.since(text)
    except ValueError as error:
        raise Refused(422, f"query.since: {error}") from None


def _receiving(ask: Ask, dump: Manifest) -> list[Incoming]:
    growing = incoming.growing(ask.desk.spool.root / dump.directory)
    return [note for path in growing if incoming.is_live(path) and (note := incoming.read(path))]


def _cursor(date: str, identifier: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([date, identifier]).encode()).decode().rstrip("=")


def _behind(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        date, identifier = json.loads(raw)
        if isinstance(date, str) and isinstance(identifier, str):
            return date, identifier
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise Refused(422, "query.cursor: no cursor that this server gave")
