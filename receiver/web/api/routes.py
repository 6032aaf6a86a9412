"""Every route that answers programs: the API's table, health and metrics."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from receiver.hosts.blocks import Block
from receiver.spool.manifest import Pin
from receiver.spool.summary import Summary
from receiver.triage.groups import Group
from receiver.web.api import crashes, dumps, endpoint, events, here, hosts, models, openapi
from receiver.web.api.endpoint import JSON, PREFIX, Ask, Endpoint

TEXT: Final = "text/plain"


def describe(_ask: Ask) -> Response:
    """The OpenAPI document."""
    return Response(_document(), media_type=JSON)


@cache
def _document() -> bytes:
    return openapi.document(API)


def _get(path: str, summary: str, handler: Any, answer: Any = None, **more: Any) -> Endpoint:
    return Endpoint("GET", PREFIX + path, summary, handler, answer=answer, **more)


API: Final = (
    _get("/dumps", "Dumps, newest first", dumps.list_dumps, models.DumpList, query=models.DumpQuery),
    _get("/dumps/{id}", "One dump; its id may be cut short", dumps.show, models.DumpDetail),
    _get("/dumps/{id}/files", "Its files", dumps.files, models.Files),
    Endpoint(
        "GET",
        PREFIX + "/dumps/{id}/files/{name}",
        "A file, or a range of it",
        waiter=dumps.file,
        media=("application/octet-stream",),
        statuses={206: "A part", 304: "As the client has it", 416: "No such range"},
        headers=("Range", "If-Range", "If-None-Match"),
    ),
    _get("/dumps/{id}/log", "The crashed kernel's log", dumps.log, media=(TEXT,)),
    _get("/dumps/{id}/report", "Why it crashed", dumps.report, dict[str, Any]),
    Endpoint(
        "PUT",
        PREFIX + "/dumps/{id}/pin",
        "Keep its core, whatever the rules say",
        dumps.pin,
        answer=Pin,
        body=models.PinInput,
    ),
    Endpoint("DELETE", PREFIX + "/dumps/{id}/pin", "Leave it to the rules again", dumps.unpin, status=204),
    _get("/groups", "Crashes that are alike", crashes.list_groups, models.Groups, query=models.GroupQuery),
    _get("/groups/{signature}", "One group", crashes.show, Group),
    _get(
        "/repetitions",
        "Hosts, models and reasons again and again",
        crashes.list_repetitions,
        models.Repetitions,
        query=models.RepetitionQuery,
    ),
    _get("/hosts", "Hosts by name", hosts.list_hosts, models.Hosts, query=models.HostQuery),
    _get("/hosts/{name}", "One host", hosts.show, models.HostView),
    Endpoint(
        "POST",
        PREFIX + "/hosts/{name}/keys",
        "Let a host in with a public key",
        hosts.add_key,
        answer=models.Key,
        body=models.KeyInput,
        status=201,
    ),
    Endpoint(
        "DELETE",
        PREFIX + "/hosts/{name}/keys",
        "Take its keys away, or one of them",
        hosts.remove_keys,
        answer=models.Removed,
        query=models.KeyQuery,
    ),
    Endpoint(
        "PUT",
        PREFIX + "/hosts/{name}/block",
        "Shut a host out",
        hosts.block,
        answer=Block,
        body=models.BlockInput,
    ),
    Endpoint("DELETE", PREFIX + "/hosts/{name}/block", "Let it in again", hosts.unblock, status=204),
    _get("/tokens", "Enrolment tokens, without their secrets", hosts.list_tokens, models.Tokens),
    Endpoint(
        "POST",
        PREFIX + "/tokens",
        "A new one, shown this once",
        hosts.create_token,
        answer=models.TokenMade,
        body=models.TokenInput,
        status=201,
    ),
    Endpoint("DELETE", PREFIX + "/tokens/{id}", "Make one worthless", hosts.revoke_token, status=204),
    _get("/uploads", "Uploads under way", dumps.uploads, models.Uploads),
    Endpoint(
        "GET",
        PREFIX + "/events",
        "What happened; with Accept: text/event-stream, as it happens",
        waiter=events.events,
        answer=models.Events,
        query=models.EventQuery,
        media=(JSON, events.STREAM),
        headers=("Last-Event-ID",),
    ),
    _get("/space", "Where the space went", here.space, Summary),
    _get("/me", "Who asks", here.me, models.Me),
    _get("/openapi.json", "This description", describe, dict[str, Any]),
)
OTHERS: Final = (
    Endpoint("GET", "/healthz", "Whether it answers", here.health),
    Endpoint("GET", "/readyz", "Whether dumps can be received", here.ready),
    Endpoint("GET", "/metrics", "For Prometheus", here.metrics, media=(TEXT,)),
)


def routes() -> list[BaseRoute]:
    """The API's, health and metrics."""
    return endpoint.routes((*API, *OTHERS))
