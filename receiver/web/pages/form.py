"""Forms that change something: an operator's, sent from a page of ours."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

FORM_MAX: Final = 16 << 10  # bytes
FIELDS_MAX: Final = 20


async def form(request: Request) -> dict[str, str]:
    """The fields, once it is known that they may be obeyed.

    Raises:
        HTTPException: a viewer sends it, it is too long, none of ours, or forged.
    """
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
