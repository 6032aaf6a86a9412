"""Errors as answers: RFC 9457 problem details for programs, a page for people."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from receiver.web.pages import errors

MEDIA_TYPE: Final = "application/problem+json"
_FOR_PROGRAMS: Final = ("/api/", "/healthz", "/readyz", "/metrics")


class Refused(HTTPException):
    """A request that is answered with an error; `fields` go into the problem details."""

    def __init__(
        self, status: int, detail: str, *, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.fields = fields


def is_for_program(path: str) -> bool:
    """Whether a path answers programs."""
    return path.startswith(_FOR_PROGRAMS)


def problem(
    status: int, detail: str, path: str, headers: dict[str, str] | None = None, **fields: Any
) -> Response:
    """The problem details of one status."""
    title = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": path}
    # JSON in ASCII: what of the path was no text stays visible, and no browser reads markup into it.
    return Response(json.dumps(body | fields), status, headers, MEDIA_TYPE)


async def refused(request: Request, error: Exception) -> Response:
    """For HTTPException, whoever raised it."""
    assert isinstance(error, HTTPException)  # noqa: S101  # by the table of handlers
    if not is_for_program(request.url.path):
        return await errors.refused(request, error)
    fields = error.fields if isinstance(error, Refused) else {}
    detail = error.detail
    if error.status_code == 404 and detail == "Not Found":
        detail = "no such route; /api/v1/openapi.json lists them"
    headers = dict(error.headers or {})
    return problem(error.status_code, detail, request.url.path, headers, **fields)


async def broken(request: Request, error: Exception) -> Response:
    """For anything else; the server logs the traceback."""
    if is_for_program(request.url.path):
        detail = "the receiver failed at this; its log says more, and uploads go on"
        return problem(500, detail, request.url.path)
    return await errors.broken(request, error)
