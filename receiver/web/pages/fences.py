"""Asks kdump-fence for its nodes: within a short deadline, and calmly where it does not answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import httpx

from receiver.settings import Settings
from receiver.web.views.fence import ANSWER_MAX, Fence, NotNodes, nodes_untrusted

DEADLINE_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 5.0
UNIX: Final = "unix://"


class FenceClient:
    """One for the process: many pages ask, the daemon is asked once in FRESH_SECONDS."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.fence_url
        self._token_file = settings.fence_token_file
        self._asked = -FRESH_SECONDS
        self._answer = Fence()
        self._lock = asyncio.Lock()

    @property
    def is_set(self) -> bool:
        """Whether the settings name a fence."""
        return self._url is not None

    async def nodes(self) -> Fence:
        """What it says, at most FRESH_SECONDS old. Raises nothing."""
        if self._url is None:
            return Fence()
        async with self._lock:
            if time.monotonic() - self._asked >= FRESH_SECONDS:
                self._answer = await self._ask(self._url)
                self._asked = time.monotonic()
            return self._answer

    async def _ask(self, url: str) -> Fence:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return Fence(nodes=nodes_untrusted(await self._fetch(url)))
        except TimeoutError:
            return Fence(trouble=f"{url} did not answer within {DEADLINE_SECONDS:.0f} s.")
        except NotNodes as error:
            return Fence(trouble=f"{url} answered something else: {error}.")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Fence(trouble=f"{url} is not reachable: {error or type(error).__name__}.")

    async def _fetch(self, url: str) -> bytes:
        headers = {}
        if self._token_file is not None:
            headers["authorization"] = f"Bearer {_token(self._token_file)}"
        transport = None
        if url.startswith(UNIX):
            transport, url = httpx.AsyncHTTPTransport(uds=url.removeprefix(UNIX)), "http://kdump-fence"
        async with (
            httpx.AsyncClient(transport=transport, timeout=DEADLINE_SECONDS, trust_env=False) as client,
            client.stream("GET", f"{url.rstrip('/')}/v1/nodes", headers=headers) as response,
        ):
            response.raise_for_status()
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ANSWER_MAX:
                    raise NotNodes(f"more than {ANSWER_MAX} bytes")
            return bytes(body)


def _token(path: Path) -> str:
    return path.read_text("ascii", "replace").strip()
