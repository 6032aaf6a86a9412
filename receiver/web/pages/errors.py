"""What went wrong, as a page: what, and what to do next."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from receiver.web.pages.render import page

_SAID: Final = {
    404: "Nothing is here.",
    403: "You may not do this.",
    500: "The page broke. Uploads are not touched by that; the server's log says more.",
}


async def refused(request: Request, error: Exception) -> Response:
    """For HTTPException."""
    assert isinstance(error, HTTPException)  # noqa: S101  # by the table of handlers
    return error_page(request, error.status_code, error.detail, dict(error.headers or {}))


async def broken(request: Request, _error: Exception) -> Response:
    """For anything else; the server logs the traceback."""
    return error_page(request, 500, "")


def error_page(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The page of one status; Starlette's own words ("Not Found") are said better."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    said = detail if detail and detail != phrase else _SAID.get(status, phrase)
    response = page(request, "error.html", status=status, code=status, phrase=phrase, said=said)
    response.headers.update(headers or {})
    return response
