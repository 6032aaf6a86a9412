"""A real HTTP server that takes webhooks, fails, hangs, and recovers, as it is told to."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One POST, with the answer that it got."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # monotonic
    answer: int

    @property
    def event(self) -> dict[str, Any]:
        """The body as JSON."""
        read: dict[str, Any] = json.loads(self.body)
        return read


@dataclass
class Endpoint:
    """Use it as a context. ``answer`` is the status of what comes next; 0 hangs until ``release``."""

    answer: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Endpoint:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; a second start keeps the port."""
        endpoint = self
        self.release.clear()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = endpoint.answer
                headers = {key.lower(): value for key, value in self.headers.items()}
                endpoint.requests.append(Request(self.path, headers, body, time.monotonic(), answer))
                if answer == 0:
                    endpoint.release.wait(60)
                    self.close_connection = True
                    return
                self.send_response(answer)
                for key, value in endpoint.headers.items():
                    self.send_header(key, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quietly."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Clients that leave are what these tests are about."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Be gone."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Request]:
        """The requests that were answered well."""
        return [request for request in self.requests if 200 <= request.answer < 300]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Until it holds: for what tells nobody when it happens."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.02)
