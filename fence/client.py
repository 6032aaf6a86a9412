"""Asks a running daemon, for the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from fence.failure import Failure

CONNECT_SECONDS = 5.0


class Unreachable(Failure):
    """The daemon does not answer, or says no."""

    exit_code = 69  # EX_UNAVAILABLE


class Client:
    """The API over the Unix socket, as a context. All raises Unreachable where there is no good answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._http = httpx.Client(
            base_url="http://kdump-fence",
            transport=httpx.HTTPTransport(uds=str(path)),
            timeout=httpx.Timeout(CONNECT_SECONDS, read=30.0),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def nodes(self) -> list[dict[str, Any]]:
        """Every node."""
        found: list[dict[str, Any]] = self._get("/v1/nodes")["nodes"]
        return found

    def off(self, name: str, timeout: float, grade: str | None) -> dict[str, Any]:
        """Wait for the answer."""
        query = {"timeout": repr(timeout)} | ({"grade": grade} if grade else {})
        return self._get(f"/v1/nodes/{quote(name, safe=',')}/off", query, read=timeout + 30)

    def health(self) -> dict[str, Any]:
        """/healthz, good or bad."""
        return self._get("/healthz", well=(200, 503))

    def unknown(self) -> dict[str, Any]:
        """Who sends without being known."""
        return self._get("/v1/unknown")

    def events(self, since: int, node: str | None) -> Iterator[dict[str, Any]]:
        """All events after an id, to the newest."""
        while True:
            query = {"since": str(since)} | ({"node": node} if node else {})
            page = self._get("/v1/events", query)
            yield from page["events"]
            if not page["events"]:
                return
            since = int(page["last"])

    def follow(self, since: int | None, node: str | None) -> Iterator[dict[str, Any]]:
        """Events as they come, for ever; from the next one where ``since`` is None."""
        query = {"node": node} if node else {}
        headers = {"accept": "text/event-stream"} | (
            {"last-event-id": str(since)} if since is not None else {}
        )
        with (
            self._reaching(),
            self._http.stream(
                "GET",
                "/v1/events",
                params=query,
                headers=headers,
                timeout=httpx.Timeout(CONNECT_SECONDS, read=60),
            ) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise Unreachable(f"{self._path}: {_reason(answer)}")
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))
        raise Unreachable(f"{self._path}: the stream ended: the daemon stopped")

    def _get(
        self,
        path: str,
        query: dict[str, str] | None = None,
        *,
        read: float = 30.0,
        well: tuple[int, ...] = (200,),
    ) -> dict[str, Any]:
        with self._reaching():
            answer = self._http.get(path, params=query, timeout=httpx.Timeout(CONNECT_SECONDS, read=read))
            if answer.status_code not in well:
                raise Unreachable(f"{self._path}: {_reason(answer)}")
            content: dict[str, Any] = answer.json()
            return content

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._path}: {error}; does `kdump-fence serve` run?") from None
        except ValueError:
            raise Unreachable(f"{self._path}: the answer is no JSON; is it kdump-fence?") from None


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"answered {answer.status_code}"
