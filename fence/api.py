"""The HTTP API (docs/fence-api.md): thin routes over `Daemon`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from fence import query
from fence.access import Denied, allowed
from fence.cloud import PREFIX, cloud_event
from fence.daemon import Daemon
from fence.message import Progress
from fence.node import Node, Upload, UploadPhase
from fence.query import EvidenceBody, LivenessBody
from fence.settings import Scope
from fence.stream import EventStream, Tell, until_gone
from fence.view import decision_view, node_view, unknown_view

NAMES_MAX = 64  # names in one question
EVENTS_DEFAULT, EVENTS_MAX = 1000, 10_000
KEEP_ALIVE_SECONDS = 15.0  # between two comments in a stream
PAGE = 200  # events read at once for a stream


@dataclass(frozen=True, slots=True)
class Shell:
    """What the routes need beside the daemon."""

    daemon: Daemon
    health: Callable[[], dict[str, Any]]
    metrics: Callable[[], bytes]
    source: str


def application(shell: Shell) -> Starlette:
    """The ASGI application. ``scope["peer"]`` is the user where it came by the Unix socket."""
    routes = Routes(shell)
    return Starlette(
        routes=[
            Route("/healthz", routes.health),
            Route("/metrics", routes.metrics),
            Route("/v1/nodes", routes.nodes),
            Route("/v1/nodes/{name}", routes.node),
            Route("/v1/nodes/{name}/off", routes.off),
            Route("/v1/nodes/{name}/alive", routes.alive, methods=["POST"]),
            Route("/v1/nodes/{name}/lost", routes.lost, methods=["POST"]),
            Route("/v1/unknown", routes.unknown),
            Route("/v1/evidence", routes.evidence, methods=["POST"]),
            Route("/v1/events", routes.events),
        ],
        exception_handlers={HTTPException: _refused, Denied: _denied, ClientDisconnect: _gone},
    )


class Routes:
    """One method a route."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._daemon = shell.daemon
        self._streams = 0

    async def health(self, request: Request) -> Response:
        """Whether the daemon can do its work."""
        view = self._shell.health()
        return _json(view, 200 if view["ok"] else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        self._allowed(request, "read")
        return Response(self._shell.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def nodes(self, request: Request) -> Response:
        """All nodes."""
        self._allowed(request, "read")
        members = sorted(self._daemon.table.members.items())
        views = []
        for count, (_, member) in enumerate(members):
            if count % 100 == 99:
                await trio.lowlevel.checkpoint()  # ten thousand of them take a while
            views.append(node_view(self._daemon, member))
        return _json({"nodes": views})

    async def node(self, request: Request) -> Response:
        """One node."""
        self._allowed(request, "read")
        node = await self._known(request)
        return _json(node_view(self._daemon, self._daemon.table.members[node.name]))

    async def off(self, request: Request) -> Response:
        """Is it off? Answers when it is, or when the time is over."""
        who = self._allowed(request, "read")
        timeout, grade = query.timeout(request), query.grade(request)
        names = [name for name in request.path_params["name"].split(",") if name][:NAMES_MAX]
        found = [await self._daemon.known(name) for name in names]
        nodes = list(dict.fromkeys(node for node in found if node is not None))
        if not nodes:
            raise HTTPException(404, self._unknown(request.path_params["name"]))
        if self._daemon.waits.open >= self._daemon.settings.api.max_waits:
            raise HTTPException(503, "too many questions wait already; see `api.max_waits` in the settings")
        answer = await until_gone(request, lambda: self._daemon.off(nodes, timeout, grade, who))
        if self._daemon.stopping and not answer.off:
            raise HTTPException(503, "the daemon is stopping; ask another, or again")
        return _json(decision_view(answer))

    async def alive(self, request: Request) -> Response:
        """The node runs its normal kernel."""
        return await self._liveness(request, self._daemon.alive)

    async def lost(self, request: Request) -> Response:
        """The node is not seen any more."""
        return await self._liveness(request, self._daemon.lost)

    async def evidence(self, request: Request) -> Response:
        """A receiver sees bytes of an authenticated host."""
        who = self._allowed(request, "evidence")
        body = await query.body(request, EvidenceBody)
        node = self._daemon.table.find(body.node)
        if node is None:
            raise HTTPException(404, f"no node {body.node!r} is configured")
        progress = None
        if body.done_bytes is not None:
            progress = Progress(body.done_bytes, body.total_bytes or 0)
        upload = Upload(
            phase=UploadPhase(body.phase), upload=body.upload, progress=progress, by=body.by or who
        )
        self._daemon.uploading(node, upload, body.age_seconds)
        return self._taken(node, await self._daemon.kept(node))

    async def unknown(self, request: Request) -> Response:
        """Who sends without being known."""
        self._allowed(request, "read")
        return _json(unknown_view(self._daemon))

    async def events(self, request: Request) -> Response:
        """The journal, as a page or as a stream."""
        self._allowed(request, "read")
        asked = request.query_params
        node = asked.get("node")
        if node is not None and (known := self._daemon.table.find(node)) is not None:
            node = known.name
        streaming = "text/event-stream" in request.headers.get("accept", "")
        said = request.headers.get("last-event-id") if streaming else None
        since = query.number(said or asked.get("since"), "since")
        newest = self._daemon.journal.last
        if since is not None and since > newest:
            since = 0  # an id of a journal that is gone
        if streaming:
            if self._streams >= self._daemon.settings.api.max_streams:
                raise HTTPException(503, "too many streams already; see `api.max_streams` in the settings")
            after = newest if since is None else since
            return EventStream(lambda tell: self._follow(tell, after, node))
        limit = min(query.number(asked.get("limit"), "limit") or EVENTS_DEFAULT, EVENTS_MAX)
        page = await self._daemon.journal.since(since or 0, limit, node)
        last = page[-1].id if page else since or 0
        body = ",".join(cloud_event(event, self._shell.source) for event in page)
        return Response(f'{{"events":[{body}],"last":"{last}"}}', media_type="application/json")

    async def _follow(self, tell: Tell, after: int, node: str | None) -> None:
        journal = self._daemon.journal
        self._streams += 1
        try:
            await tell(": kdump-fence\n\n")
            while not self._daemon.stopping:
                newest = journal.last
                page = await journal.since(after, PAGE, node)
                for event in page:
                    kind, data = PREFIX + event.kind, cloud_event(event, self._shell.source)
                    await tell(f"id: {event.id}\nevent: {kind}\ndata: {data}\n\n")
                if len(page) == PAGE:
                    after = page[-1].id
                    continue
                after = max(newest, page[-1].id if page else 0)
                with trio.move_on_after(KEEP_ALIVE_SECONDS) as quiet:
                    await journal.news(after)
                if quiet.cancelled_caught:
                    await tell(": still here\n\n")
        finally:
            self._streams -= 1

    async def _liveness(
        self, request: Request, tell: Callable[[Node, str, float], Awaitable[bool]]
    ) -> Response:
        who = self._allowed(request, "alive")
        body = await query.body(request, LivenessBody)
        node = await self._known(request)
        return self._taken(node, await tell(node, body.by or who, body.age_seconds))

    def _taken(self, node: Node, durable: bool) -> Response:
        return _json({"node": node.name, "state": node.state, "durable": durable})

    def _allowed(self, request: Request, scope: Scope) -> str:
        authorization = request.headers.get("authorization")
        return allowed(self._daemon.settings.api, scope, request.scope.get("peer"), authorization)

    async def _known(self, request: Request) -> Node:
        name = request.path_params["name"]
        node = await self._daemon.known(name)
        if node is None:
            raise HTTPException(404, self._unknown(name))
        return node

    def _unknown(self, name: str) -> str:
        if self._daemon.settings.nodes.unlisted == "refuse":
            return f"no node {name!r} is configured; add [node.{name}]"
        return f"no node {name!r} is configured, and the name does not resolve (or to several nodes)"


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- by the table of handlers
    unknown = error.status_code == 404 and error.detail == "Not Found"
    detail = f"no such route: {request.url.path}; see docs/fence-api.md" if unknown else error.detail
    response = _json({"error": detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _denied(request: Request, error: Exception) -> Response:
    assert isinstance(error, Denied)  # noqa: S101 -- by the table of handlers
    response = _json({"error": str(error)}, error.status)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it
