"""A webhook: CloudEvents over HTTP, structured mode (spec: bindings/http-protocol-binding.md, 3.2)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio

from fence.cloud import Stored
from fence.settings import Webhook
from fence.target import Failed, Target

AGAIN = frozenset({408, 425, 429})  # of 4xx: not the event's fault


@asynccontextmanager
async def open_webhook(settings: Webhook) -> AsyncIterator[Target]:
    """A target that posts to the webhook, with connections kept open."""
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    verify = ssl.create_default_context(cafile=settings.ca) if settings.ca else True
    async with httpx.AsyncClient(
        timeout=settings.timeout_seconds, headers=headers, verify=verify, follow_redirects=False
    ) as client:

        async def post(stored: Stored, event: str) -> None:
            headers = _authorization(settings)
            # httpx counts its time from byte to byte: a server that drips would have us wait for ever.
            with trio.move_on_after(settings.timeout_seconds) as limit:
                try:
                    answer = await client.post(settings.url, content=event.encode(), headers=headers)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise Failed(f"{type(error).__name__}: {error}") from None
            if limit.cancelled_caught:
                raise Failed(f"no answer within {settings.timeout_seconds:g} s")
            if not answer.is_success:
                final = 400 <= answer.status_code < 500 and answer.status_code not in AGAIN
                raise Failed(f"answered {answer.status_code}", final=final)

        yield post


def _authorization(settings: Webhook) -> dict[str, str]:
    """Read anew each time: tokens get renewed."""
    if settings.token_file is None:
        return {}
    try:
        return {"authorization": f"Bearer {settings.token_file.read_text().strip()}"}
    except OSError as error:
        raise Failed(f"{settings.token_file}: {error.strerror}") from None
