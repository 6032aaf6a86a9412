"""What a request says: query values and bodies, checked (docs/fence-api.md)."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fence.events import GRADES, Grade

BODY_MAX = 64 * 1024  # bytes
TIMEOUT_DEFAULT, TIMEOUT_MAX = 60.0, 3600.0  # seconds

Age = Annotated[float, Field(ge=0, le=365 * 86_400, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
B = TypeVar("B", bound="Body")


class Body(BaseModel):
    """What a POST may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LivenessBody(Body):
    """Of alive and lost."""

    by: Text | None = None
    age_seconds: Age = 0


class EvidenceBody(Body):
    """Of evidence. The age is required: what was queued or tried again must not look fresh."""

    node: Text
    phase: Literal["started", "progress", "finished", "failed"]
    age_seconds: Age
    upload: Text | None = None
    done_bytes: Count | None = None
    total_bytes: Count | None = None
    by: Text | None = None


async def body(request: Request, model: type[B]) -> B:
    """The body, as a model.

    Raises:
        HTTPException: 413 too large, 400 not as the model.
    """
    parts, size = [], 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            parts.append(part)
            size += len(part)
            if size > BODY_MAX:
                raise HTTPException(413, f"the body is over {BODY_MAX} bytes")
    try:
        return model.model_validate_json(b"".join(parts) or b"{}")
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the body"
        raise HTTPException(400, f"{key}: {problem['msg']}; see docs/fence-api.md") from None


def timeout(request: Request) -> float:
    """``timeout``, in seconds. Raises HTTPException, 400."""
    text = request.query_params.get("timeout")
    try:
        seconds = TIMEOUT_DEFAULT if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= TIMEOUT_MAX:
        raise HTTPException(400, f"timeout: say 0 to {TIMEOUT_MAX:g} seconds, not {text!r}")
    return seconds


def grade(request: Request) -> Grade:
    """``grade``; NONE where it is not there. Raises HTTPException, 400."""
    text = request.query_params.get("grade")
    if text is None:
        return Grade.NONE
    if not GRADES.get(text):
        raise HTTPException(400, f"grade: say one of {', '.join(GRADES)[6:]}, not {text!r}")
    return GRADES[text]


def number(text: str | None, name: str) -> int | None:
    """A whole number, where there is one. Raises HTTPException, 400."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise HTTPException(400, f"{name}: say a number, not {text!r}")
    return int(text)
