"""The list of dumps, and one dump."""

from __future__ import annotations

import time
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from receiver.catalogue import when
from receiver.catalogue.store import Query
from receiver.spool.manifest import OURS, as_json
from receiver.web import download
from receiver.web.pages.form import form
from receiver.web.pages.render import HEADERS, fragment, page, segment
from receiver.web.pages.shelf import DumpOnDisk
from receiver.web.pages.state import state_of
from receiver.web.views.dump import VERDICTS, dump_page, dump_rows
from receiver.web.views.logs import Window, window
from receiver.web.views.uploads import uploads

LISTED: Final = 50
LISTED_MAX: Final = 1000
WORD_MAX: Final = 200  # characters of a filter
LINE_MAX: Final = 1 << 31


async def show_list(request: Request) -> Response:
    """``GET /dumps``: the CLI's filters, by the CLI's words."""
    state, asked = state_of(request), request.query_params
    chosen = {name: asked.get(name, "").strip()[:WORD_MAX] for name in ("host", "since", "verdict", "group")}
    most = _number(asked.get("n", ""), LISTED, LISTED_MAX)
    trouble, since = "", None
    if chosen["since"]:
        try:
            since = when.since(chosen["since"])
        except ValueError as error:
            trouble = str(error)
    query = Query(
        host=chosen["host"] or None,
        since=since,
        verdict=chosen["verdict"] or None,
        signature=chosen["group"] or None,
        most=most + 1,
    )
    found = [] if trouble else await run_in_threadpool(lambda: state.shelf.briefs(query))
    rows = dump_rows(found[:most], time.time())
    more = len(found) > most
    return page(
        request,
        "dumps.html",
        rows=rows,
        chosen=chosen,
        most=most,
        more=min(most * 4, LISTED_MAX) if more and most < LISTED_MAX else None,
        filtered=any(chosen.values()),
        trouble=trouble,
        verdicts=VERDICTS,
        status=400 if trouble else 200,
    )


async def show(request: Request) -> Response:
    """``GET /dumps/ID``; ``q`` searches the log, ``hit`` and ``at`` say where in it."""
    found = await _found(request)
    asked = request.query_params
    query, hit, at = asked.get("q", ""), asked.get("hit", ""), asked.get("at", "")
    log = await run_in_threadpool(lambda: _window(found, query, hit, at))
    state, now = state_of(request), time.time()
    dump = found.dump
    path = str(state.desk.settings.root / dump.directory)
    view = dump_page(dump, path, found.report, uploads(found.notes, now), now)
    group = None
    if view.signature:
        rows = await run_in_threadpool(lambda: state.shelf.groups(now, view.signature))
        group = rows[0] if rows else None
    return page(
        request,
        "dump.html",
        dump=view,
        report=found.report,
        report_trouble=found.report_trouble,
        log=log,
        group=group,
        uploads=view.uploads,
    )


async def progress(request: Request) -> Response:
    """``GET /dumps/ID/progress``: a dump's uploads, for htmx; the page is loaded again when all is known."""
    found, now = await _found(request), time.time()
    under_way = uploads(found.notes, now)
    shown = dump_page(found.dump, "", found.report, under_way, now)
    headers = HEADERS if shown.is_changing else HEADERS | {"hx-refresh": "true"}
    return HTMLResponse(fragment("parts/progress.html", uploads=under_way), headers=headers)


async def pin(request: Request) -> Response:
    """``POST /dumps/ID/pin``: no rule and no lack of space takes it, until it is unpinned."""
    asked, found, state = await form(request), await _found(request), state_of(request)
    by, note = request.state.viewer.name, asked.get("note", "").strip()
    await run_in_threadpool(lambda: state.shelf.pin(found.dump.directory, by, note))
    return RedirectResponse(f"/dumps/{segment(found.dump.id)}", 303)


async def unpin(request: Request) -> Response:
    """``POST /dumps/ID/unpin``."""
    await form(request)
    found, state, by = await _found(request), state_of(request), request.state.viewer.name
    await run_in_threadpool(lambda: state.shelf.unpin(found.dump.directory, by))
    return RedirectResponse(f"/dumps/{segment(found.dump.id)}", 303)


async def manifest(request: Request) -> Response:
    """``GET /dumps/ID/manifest.json``."""
    found = await _found(request)
    return Response(as_json(found.dump), media_type="application/json", headers=HEADERS)


async def file(request: Request) -> Response:
    """``GET /dumps/ID/files/NAME``: the file as it lies there; Range is understood."""
    found = await _found(request)
    name = request.path_params["name"]
    stored = next((one for one in found.dump.files if one.name == name), None)
    if stored is None and name not in OURS:
        raise HTTPException(404, f"This dump has no file {name!r}.")
    path = state_of(request).desk.settings.root / found.dump.directory / name
    filename = f"{found.dump.host}-{found.dump.id}-{name}"
    digest = stored.sha256 if stored else None
    return await run_in_threadpool(lambda: download.answer(request, path, filename, digest))


def _window(found: DumpOnDisk, query: str, hit: str, at: str) -> Window | None:
    if found.log is None:
        return None
    first = _number(at, 0, LINE_MAX) or None
    return window(found.log, found.report, query=query, hit=_number(hit, 0, LINE_MAX), at=first)


async def _found(request: Request) -> DumpOnDisk:
    """The dump of the path. Raises HTTPException."""
    state, name = state_of(request), request.path_params["id"]
    found = await run_in_threadpool(lambda: state.shelf.dump(name))
    if isinstance(found, DumpOnDisk):
        return found
    if found:
        raise HTTPException(404, f"More than one dump's ID begins with {name!r}; say more of it.")
    raise HTTPException(404, f"No dump {name!r}: it was removed, or never here.")


def _number(text: str, default: int, most: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 12
    return min(int(text) or default, most) if is_number else default
