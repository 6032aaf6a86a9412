"""What every request passes before a route sees it: bounds, where it comes from, who it is, what they may.

Browsers can be led by any page to send requests here, so what changes something needs more than a
cookie or a loopback address: the page's own token, or what no foreign page can send.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.events import Acted, LoginRefused
from receiver.hosts.identity import normalised_peer
from receiver.hosts.limits import PasswordLimits
from receiver.web import problem
from receiver.web.access.machine import is_loopback, is_trusted
from receiver.web.access.viewer import Viewer
from receiver.web.desk import Desk
from receiver.web.problem import Refused

BODY_MAX: Final = 64 << 10  # bytes; the largest body is a public key
BODY_SECONDS: Final = 20.0  # that a body may take
ANSWER_SECONDS: Final = 60.0  # until an answer begins
OPEN: Final = ("/healthz", "/readyz", "/login")  # for everybody
OPEN_BELOW: Final = ("/static/",)
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
CSRF_HEADER: Final = "x-csrf-token"
# Set by browsers and by proxies: a program of this machine sends none of them.
_OF_BROWSERS: Final = ("origin", "referer", "cookie", "sec-fetch-site", "sec-fetch-mode")
_OF_PROXIES: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """The application that clients talk to; `inside` is what it guards."""

    def __init__(self, inside: ASGIApp, desk: Desk) -> None:
        self._inside = inside
        self._desk = desk
        self._limits = PasswordLimits()
        self._key = secrets.token_urlsafe(32)  # of the forms of those who need no login

    @property
    def limits(self) -> PasswordLimits:
        """How often a login may be tried."""
        return self._limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            return
        request = Request(scope, receive)
        status = 500

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answering.reschedule(None)
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in self._headers(request).items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            async with asyncio.timeout(ANSWER_SECONDS) as answering:
                try:
                    replayed = await self._admitted(request)
                except HTTPException as error:
                    await (await problem.refused(request, error))(scope, receive, with_headers)
                    return
                if isinstance(replayed, Response):
                    await replayed(scope, receive, with_headers)
                    return
                await self._inside(scope, replayed, with_headers)
        except TimeoutError:
            if answering.expired():
                await problem.problem(503, "this took too long; try again", request.url.path)(
                    scope, receive, with_headers
                )
            else:
                raise
        finally:
            viewer = scope.get("state", {}).get("viewer")
            if request.method not in SAFE and viewer is not None:
                what = f"{request.method} {request.url.path}"[:300]
                self._desk.bus.tell(Acted(viewer.name, self.peer(request), what, status))

    async def _admitted(self, request: Request) -> Receive | Response:
        """The request's body, read; or the answer that sends a browser to the login. Raises HTTPException."""
        path = request.url.path
        self._check_host(request)
        scope = request.scope
        scope.setdefault("state", {})["viewer"] = None
        scope["state"]["guard"] = self
        is_open = path in OPEN or path.startswith(OPEN_BELOW)
        viewer = await self._viewer(request)
        scope["state"]["viewer"] = viewer
        if viewer is None and not is_open:
            return self._to_login(request)
        if request.method in SAFE:
            return request.receive
        self._check_origin(request)
        if viewer is not None and viewer.role != "operator" and path not in ("/login", "/logout"):
            raise Refused(403, "only an operator may change things; this login is a viewer's")
        body = await self._body(request)
        if viewer is not None and path != "/login":
            self._check_token(request, viewer, body)
        return _replayed(body, request.receive)

    def _headers(self, request: Request) -> dict[str, str]:
        if self.is_secure(request):
            return HEADERS | {"strict-transport-security": "max-age=31536000"}
        return HEADERS

    def is_secure(self, request: Request) -> bool:
        """Whether the client's end of it is TLS."""
        if self._desk.settings.behind_proxy:
            return request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip() == "https"
        return request.url.scheme == "https"

    def peer(self, request: Request) -> str:
        """The client's address; behind a proxy the one that the proxy saw."""
        if self._desk.settings.behind_proxy:
            last = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            return normalised_peer(last)
        return normalised_peer(request.client.host if request.client else "")

    def _check_host(self, request: Request) -> None:
        """A name that somebody else's DNS has made ours must not get what loopback gets."""
        if not self._desk.loopback or self._desk.settings.behind_proxy:
            return
        host = _host_of(request.headers)
        if host is None or not (host == "localhost" or is_loopback(host)):
            raise Refused(
                421, "this address answers to localhost, 127.0.0.1 and [::1] only; see `web` in the settings"
            )

    async def _viewer(self, request: Request) -> Viewer | None:
        """Who asks. Raises HTTPException where they say who they are, wrongly or too often."""
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return await self._bearer(request, authorization)
        key = request.cookies.get(self.cookie(request), "")
        if key:
            viewer = await run_in_threadpool(lambda: self._of_session(key))
            if viewer is not None:
                return viewer
        if self._desk.loopback and not self._desk.settings.behind_proxy and self._is_of_machine(request):
            return Viewer("this machine", "operator", self._key, "machine")
        return None

    async def _bearer(self, request: Request, authorization: str) -> Viewer:
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise Refused(401, "say `Authorization: Bearer TOKEN`", headers={"www-authenticate": "Bearer"})
        return await self.logged_in(request, text)

    async def logged_in(self, request: Request, text: str) -> Viewer:
        """Whose login token `text` is; without a session.

        Raises:
            Refused: nobody's (401), or too many wrong ones came from there (429).
        """
        peer, now = self.peer(request), time.monotonic()
        wait = self._limits.wait(peer, now)
        if wait > 0:
            headers = {"retry-after": str(int(wait) + 1)}
            raise Refused(429, f"too many wrong login tokens; again in {wait:.0f} s", headers=headers)
        login = await run_in_threadpool(lambda: self._desk.logins.check(text, time.time()))
        if login is None:
            self._limits.attempt(peer, now)
            self._desk.bus.tell(LoginRefused(peer, "-", "web", "no valid login token"))
            raise Refused(401, "no valid login token", headers={"www-authenticate": "Bearer"})
        return Viewer(login.name, login.role, "", "bearer", login.id)

    def _of_session(self, key: str) -> Viewer | None:
        now = time.time()
        session = self._desk.sessions.find(key, now)
        login = self._desk.logins.find(session.login) if session else None
        if session is None or login is None or not login.is_valid(now):
            return None
        return Viewer(login.name, login.role, session.csrf, "cookie", login.id)

    def cookie(self, request: Request) -> str:
        """Its name; browsers take the longer one over TLS only, and from nobody but this host."""
        return "__Host-kdump" if self.is_secure(request) else "kdump"

    def _is_of_machine(self, request: Request) -> bool:
        if any(name in request.headers for name in _OF_PROXIES):
            return False
        client, server = request.client, request.scope.get("server")
        if client is None or not server:
            return False
        return is_trusted((client.host, client.port), (server[0], server[1]))

    def _to_login(self, request: Request) -> Response:
        wants_page = request.method in SAFE and not problem.is_for_program(request.url.path)
        if wants_page and "hx-request" not in request.headers and request.url.path != "/live":
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"/login?next={quote(request.url.path + query, safe='')}", 303)
        raise Refused(
            401,
            "a login token is wanted; `kdump-receiver login create` makes one",
            headers={"www-authenticate": "Bearer"},
        )

    def _check_origin(self, request: Request) -> None:
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin")
        if site not in ("same-origin", "none") or (origin is not None and not self._is_ours(request, origin)):
            raise Refused(403, "another site led the browser here; nothing was changed")

    def _is_ours(self, request: Request, origin: str) -> bool:
        hosts = {request.headers.get("host", "")}
        if self._desk.settings.behind_proxy:
            hosts.add(request.headers.get("x-forwarded-host", ""))
        parts = urlsplit(origin)
        scheme = "https" if self.is_secure(request) else "http"
        return parts.scheme == scheme and bool(parts.netloc) and parts.netloc in hosts

    def _check_token(self, request: Request, viewer: Viewer, body: bytes) -> None:
        """A bearer token is no browser's habit; everybody else shows a token that only our pages have."""
        if viewer.how == "bearer":
            return
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        of_browser = any(name in request.headers for name in _OF_BROWSERS)
        if viewer.how == "machine" and not of_browser and kind not in FORMS:
            return  # a program: no page can make a browser send this without asking us first
        shown = request.headers.get(CSRF_HEADER, "")
        if not shown and kind == FORMS[0]:
            shown = _field(body, "csrf")
        if not hmac.compare_digest(shown.encode(), viewer.csrf.encode()):
            raise Refused(
                403, f"open the page again: this came without its token (field csrf, or {CSRF_HEADER})"
            )

    async def _body(self, request: Request) -> bytes:
        """All of it, within bounds. Raises Refused."""
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:12]) > BODY_MAX:
            raise Refused(413, f"a body here is at most {BODY_MAX} bytes", headers={"connection": "close"})
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in request.stream():
                    body += piece
                    if len(body) > BODY_MAX:
                        headers = {"connection": "close"}
                        raise Refused(413, f"a body here is at most {BODY_MAX} bytes", headers=headers)
        except TimeoutError:
            raise Refused(408, "the body came too slowly", headers={"connection": "close"}) from None
        return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _field(body: bytes, name: str) -> str:
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=100)).get(name, "")
    except ValueError:
        return ""


def _host_of(headers: Headers) -> str | None:
    """The host that the client means, without its port."""
    try:
        found = urlsplit(f"//{headers.get('host', '')}")
        _ = found.port
    except ValueError:
        return None
    return found.hostname
