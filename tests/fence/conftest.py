"""A daemon in the test's own process: real journal, real Unix socket, a clock that can be turned."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from fence import clock
from fence.api import Shell, application
from fence.daemon import Daemon
from fence.journal import Journal
from fence.listed import Listed
from fence.message import LITTLE
from fence.roster import roster
from fence.serve import Http, tcp_socket, unix_socket
from fence.settings import Settings
from fence.store import Store
from fence.table import Datagram
from fence.view import health_view


@dataclass
class Desk:
    """The daemon behind its API."""

    daemon: Daemon
    client: httpx.AsyncClient
    http: Http
    stop: trio.Event
    nursery: trio.Nursery
    port: int | None
    problems: list[str] = field(default_factory=list)
    shift: list[float] = field(default_factory=lambda: [0.0])

    def hear(self, data: bytes = LITTLE, address: str = "192.0.2.10", **more: Any) -> None:
        """A datagram."""
        self.daemon.take([Datagram(data, address, **more)])

    def later(self, seconds: float) -> None:
        """Turn the clock."""
        self.shift[0] += seconds

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET, with its status."""
        answer = await self.client.get(path, params=query)
        return answer.json() | {"status": answer.status_code}

    async def post(self, path: str, **body: Any) -> Any:
        """The JSON of a POST, with its status."""
        answer = await self.client.post(path, json=body)
        return answer.json() | {"status": answer.status_code}

    async def events(self) -> list[Any]:
        """All of the journal."""
        journal = self.daemon.journal
        await journal.news(journal._next - 2)
        return list((await self.get("/v1/events"))["events"])

    async def stream(self, *headers: str, query: str = "") -> AsyncGenerator[str, None]:
        """The lines of an event stream, without HTTP's own; to be closed by who reads it."""
        path = str(self.daemon.settings.api.socket)
        lines = [f"GET /v1/events{query} HTTP/1.1", "Host: x", "Accept: text/event-stream", *headers, "", ""]
        async with await trio.open_unix_socket(path) as sock:
            await sock.send_all("\r\n".join(lines).encode())
            buffer = b""
            async for data in sock:
                *whole, buffer = (buffer + data).split(b"\n")
                for line in whole:
                    # The lengths of chunks and HTTP's head end in CR; ours do not.
                    if not line.endswith(b"\r"):
                        yield line.decode()


NODES = {
    "n1": {"id": "rack7", "addresses": ["192.0.2.10", "2001:db8::10"], "keys": ["6b" * 32]},
    "n2": {"addresses": ["192.0.2.20"]},
}


@asynccontextmanager
async def open_desk(path: Path, **settings: Any) -> AsyncIterator[Desk]:
    """A desk with n1 and n2."""
    values: dict[str, Any] = {
        "node": NODES,
        "api": {"socket": path / "api.sock"} | settings.pop("api", {}),
        "nodes": {"drop_in": path / "fence.d"} | settings.pop("nodes", {}),
    }
    made = Settings.model_validate(values | settings)
    shift = [0.0]
    problems: list[str] = []
    journal = Journal(Store(path / "journal.sqlite"), time.time, keep_seconds=1e9, max_bytes=1 << 30)
    daemon = Daemon(made, journal, {}, clock.identity(), now=lambda: clock.now() + shift[0])
    listed: list[Listed] = roster(made, "test", ())
    daemon.configure(listed)
    shell = Shell(daemon, lambda: health_view(daemon, [], problems), lambda: b"", "/kdump-fence/test")
    http = Http(application(shell), made.api)
    sockets = [unix_socket(made.api)]
    port = None
    if made.api.where:
        sockets.append(tcp_socket(made.api.where))
        port = sockets[1].getsockname()[1]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await nursery.start(http.serve, sockets, stop)
        nursery.start_soon(daemon.waits.run)
        transport = httpx.AsyncHTTPTransport(uds=str(made.api.socket))
        async with httpx.AsyncClient(base_url="http://fence", transport=transport, timeout=20) as client:
            yield Desk(daemon, client, http, stop, nursery, port, problems, shift)
        daemon.stop()
        stop.set()
        with trio.fail_after(10):
            await http.ended.wait()
        nursery.cancel_scope.cancel()


@pytest.fixture
def desk_of(tmp_path: Path) -> Callable[..., Any]:
    """`open_desk` with this test's directory; to be used as a context in the test's own task."""
    return lambda **settings: open_desk(tmp_path, **settings)
