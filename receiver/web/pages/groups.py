"""The crash groups, and one group."""

from __future__ import annotations

import time
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.catalogue.brief import occurrences
from receiver.catalogue.store import Query
from receiver.triage.groups import repetitions
from receiver.web.pages.render import page, segment
from receiver.web.pages.state import state_of
from receiver.web.plots.stacked import Layer, stacked
from receiver.web.views import crashes, words
from receiver.web.views.dump import dump_rows

BY: Final = {"host": "Hosts that crash again and again", "model": "Hardware models that crash alike"}
DUMPS_MAX: Final = 200


async def show_list(request: Request) -> Response:
    """``GET /groups``; ``by`` is the CLI's: reason, host or model."""
    state, now = state_of(request), time.time()
    by = request.query_params.get("by", "")
    dumps = await run_in_threadpool(lambda: state.shelf.briefs(Query()))
    found = list(occurrences(dumps))
    rows = crashes.group_rows(found, now)
    timeline = crashes.timeline(rows, now)
    repeated = [(one, words.moment(one.last_seen, now)) for one in repetitions(found, now) if one.view == by]
    return page(
        request,
        "groups.html",
        rows=rows,
        by=by if by in BY else "",
        heading=BY.get(by, ""),
        repeated=repeated,
        timeline=timeline,
        plot=_plot("Crashes by day and group", timeline),
    )


async def show(request: Request) -> Response:
    """``GET /groups/SIGNATURE``, which may be cut short."""
    state, now, asked = state_of(request), time.time(), request.path_params["signature"]
    rows = await run_in_threadpool(lambda: state.shelf.groups(now, asked))
    exact = [row for row in rows if row.signature == asked] or list(rows)
    if len(exact) > 1:
        raise HTTPException(404, f"{len(exact)} groups begin with {asked!r}; say more of it.")
    if not exact:
        raise HTTPException(404, f"No group {asked!r}: its dumps were removed, or read again by other rules.")
    (row,) = exact
    if row.signature != asked:
        return RedirectResponse(f"/groups/{segment(row.signature)}", 302)
    dumps = await run_in_threadpool(lambda: state.shelf.briefs(Query(signature=row.signature)))
    timeline = crashes.timeline([row], now)
    return page(
        request,
        "group.html",
        group=row,
        spread=crashes.SPREAD[row.spread],
        course=crashes.COURSE[row.course],
        by_host=crashes.by_name(dump.host for dump in dumps),
        by_kernel=crashes.by_name(dump.kernel_release for dump in dumps),
        by_model=crashes.by_name(dump.hardware for dump in dumps),
        dumps=dump_rows(dumps[:DUMPS_MAX], now),
        plot=_plot("Crashes of this group by day", timeline),
    )


def _plot(title: str, timeline: crashes.Timeline) -> str:
    return stacked(title, timeline.days, [Layer(one.title, one.counts) for one in timeline.series])
