"""The hosts, one host, and enrolment: a token, and what to type where."""

from __future__ import annotations

import hmac
import socket
import time
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.catalogue.store import Query
from receiver.failure import Failure
from receiver.hosts import hostkeys
from receiver.hosts.identity import BadName, check_host_name
from receiver.web.pages.render import page, segment
from receiver.web.pages.state import State, state_of
from receiver.web.views import hosts
from receiver.web.views.dump import dump_rows
from receiver.web.views.enrol import SSH_PORT, Collector, is_name, recipes
from receiver.web.views.hosts import HostRow, Known

FORM_MAX: Final = 16 << 10  # bytes
FIELDS_MAX: Final = 20
LASTING: Final = {"1h": 3600, "1d": 86_400, "7d": 7 * 86_400, "28d": 28 * 86_400}
LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
DUMPS_MAX: Final = 50
PAGE: Final = 500  # hosts


async def show_list(request: Request) -> Response:
    """``GET /hosts``; ``q`` is a part of a name, ``show=concern`` those that want a look."""
    state, now, asked = state_of(request), time.time(), request.query_params
    wanted, only = asked.get("q", "").strip()[:100], asked.get("show", "")
    if new := asked.get("enrol", "").strip():
        return RedirectResponse(f"/hosts/{segment(new)}#enrol", 302)
    known = await _known(state)
    rows = await run_in_threadpool(lambda: hosts.rows(known, now))
    found = [row for row in rows if wanted.casefold() in row.name.casefold() and _fits(row, only)]
    return page(
        request,
        "hosts.html",
        rows=found[:PAGE],
        more=max(0, len(found) - PAGE),
        all_count=len(rows),
        concerned=sum(1 for row in rows if row.concern),
        wanted=wanted,
        only=only,
        fence=known.fence,
        fence_is_set=state.fence.is_set,
    )


async def show(request: Request) -> Response:
    """``GET /hosts/NAME``. A name that nobody has yet is one that may be enrolled."""
    return await _host_page(request)


async def create_token(request: Request) -> Response:
    """``POST /hosts/NAME/tokens``: a token, shown this once."""
    form = await _form(request)
    name = _name(request)
    lasting = form.get("expires", "1d")
    if lasting not in LASTING:
        raise HTTPException(400, f"A token lasts one of {', '.join(LASTING)} here; the CLI takes any time.")
    tokens, now = state_of(request).desk.tokens, time.time()

    def create() -> Any:
        note = f"page, by {request.state.viewer.name}"
        return tokens.create(host=name, uses=1, expires_in_seconds=LASTING[lasting], now=now, note=note)

    try:
        token, text = await run_in_threadpool(create)
    except Failure as error:
        raise HTTPException(400, str(error)) from None
    return await _host_page(request, token=token, secret=text, collector=form.get("collector", ""))


async def revoke_token(request: Request) -> Response:
    """``POST /hosts/NAME/tokens/ID/revoke``."""
    await _form(request)
    name, identifier = _name(request), request.path_params["id"]
    await run_in_threadpool(lambda: state_of(request).desk.tokens.revoke(identifier))
    return RedirectResponse(f"/hosts/{segment(name)}#enrol", 303)


async def _host_page(
    request: Request, *, token: Any = None, secret: str = "", collector: str = ""
) -> Response:
    state, now, name = state_of(request), time.time(), _name(request)
    known = await _known(state, name)
    tokens = await run_in_threadpool(state.desk.tokens.all)
    found = hosts.page(name, known, tokens, now)
    dumps = await run_in_threadpool(lambda: state.shelf.briefs(Query(host=name, most=DUMPS_MAX + 1)))
    server = await _collector(request, state, collector or request.query_params.get("collector", ""))
    return page(
        request,
        "host.html",
        name=name,
        host=found,
        dumps=dump_rows(dumps[:DUMPS_MAX], now),
        more_dumps=len(dumps) > DUMPS_MAX,
        collector=server,
        recipes=recipes(server),
        token=token,
        secret=secret,
        lasting=list(LASTING),
        now=now,
        fence=known.fence,
        fence_is_set=state.fence.is_set,
    )


async def _known(state: State, name: str | None = None) -> Known:
    fence = await state.fence.nodes()
    notes = await run_in_threadpool(state.shelf.live)
    return await run_in_threadpool(lambda: state.shelf.known(notes, fence, name))


async def _collector(request: Request, state: State, named: str) -> Collector:
    settings = state.desk.settings
    keys = await run_in_threadpool(lambda: hostkeys.fingerprints(settings.state))
    names = (named.strip(), _outside(request.url.hostname), _outside(socket.getfqdn()), socket.gethostname())
    name = next(filter(is_name, names), "collector")
    return Collector(name, _port(state), tuple(keys))


def _outside(name: str | None) -> str:
    """`name`, if other machines can mean us by it."""
    return "" if name is None or name in LOOPBACK else name


def _port(state: State) -> int:
    """Where clients come in: 22 if that is among the addresses, else the first one's."""
    listening = getattr(state.desk, "ssh", None) or state.desk.settings.listen
    ports = [int(address.rpartition(":")[2]) for address in listening]
    return SSH_PORT if SSH_PORT in ports or not ports else ports[0]


async def _form(request: Request) -> dict[str, str]:
    """The form of an operator that came from a page of ours. Raises HTTPException."""
    viewer = request.state.viewer
    if viewer.role != "operator":
        raise HTTPException(403, "Only an operator may do this; you are signed in as a viewer.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_MAX:
            raise HTTPException(413, "This form is too long.")
    try:
        found = dict(parse_qsl(body.decode(), max_num_fields=FIELDS_MAX, keep_blank_values=True))
    except ValueError:
        raise HTTPException(400, "This is no form of ours.") from None
    if not hmac.compare_digest(found.get("csrf", "").encode(), viewer.csrf.encode()):
        raise HTTPException(403, "This form is too old, or came from elsewhere; open the page again.")
    return found


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    owner, _, address = name.partition("@")
    try:
        check_host_name(owner)
        if address:
            check_host_name(address)
    except BadName as error:
        raise HTTPException(404, str(error)) from None
    return name


def _fits(row: HostRow, only: str) -> bool:
    return bool(row.concern) if only == "concern" else True
