"""Forms of our pages; who may send one, and that it is ours, the guard has seen to."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

FIELDS_MAX: Final = 20


async def form(request: Request) -> dict[str, str]:
    """The fields.

    Raises:
        HTTPException: this is no form.
    """
    try:
        body = (await request.body()).decode()
        return dict(parse_qsl(body, max_num_fields=FIELDS_MAX, keep_blank_values=True))
    except ValueError:
        raise HTTPException(400, "This is no form of ours.") from None
