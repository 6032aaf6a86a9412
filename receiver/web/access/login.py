"""Logging in and out with a browser."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from receiver.web.access.sessions import LASTS_SECONDS
from receiver.web.desk import Desk
from receiver.web.pages.render import page
from receiver.web.problem import Refused

TOKEN_MAX: Final = 200  # characters


async def show(request: Request) -> Response:
    """``GET /login``."""
    return page(request, "login.html", next=_next(request.query_params.get("next", "")), trouble="")


async def enter(request: Request) -> Response:
    """``POST /login``: a login token for a session."""
    guard: Any = request.state.guard
    desk: Desk = request.app.state.desk
    try:
        form = dict(parse_qsl((await request.body()).decode(), max_num_fields=20))
    except (ValueError, ClientDisconnect):
        raise Refused(400, "this is no form of ours") from None
    there = _next(form.get("next", ""))
    try:
        viewer = await guard.logged_in(request, form.get("token", "")[:TOKEN_MAX])
    except Refused as refused:
        said = f"{refused.detail[:1].upper()}{refused.detail[1:]}."
        answer = page(request, "login.html", next=there, trouble=said, status=refused.status_code)
        if "retry-after" in (refused.headers or {}):
            answer.headers["retry-after"] = (refused.headers or {})["retry-after"]
        return answer
    session = await run_in_threadpool(lambda: desk.sessions.begin(viewer.login, time.time()))
    response = RedirectResponse(there, 303)
    response.set_cookie(
        guard.cookie(request),
        session.key,
        max_age=int(LASTS_SECONDS),
        path="/",
        secure=guard.is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return response


async def leave(request: Request) -> Response:
    """``POST /logout``."""
    guard: Any = request.state.guard
    desk: Desk = request.app.state.desk
    name = guard.cookie(request)
    key = request.cookies.get(name, "")
    await run_in_threadpool(lambda: desk.sessions.end(key))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(name, path="/", secure=guard.is_secure(request), httponly=True, samesite="strict")
    return response


def _next(text: str) -> str:
    """Where to go then: a path of ours, nobody else's page."""
    parts = urlsplit(text) if text.isprintable() and "\\" not in text else None
    ours = parts is not None and not parts.scheme and not parts.netloc
    return text if ours and text.startswith("/") and not text.startswith("//") else "/"


routes: list[BaseRoute] = [
    Route("/login", show),
    Route("/login", enter, methods=["POST"]),
    Route("/logout", leave, methods=["POST"]),
]
