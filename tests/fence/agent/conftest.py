"""The agent as a program, and daemons that answer what a test tells them to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn

import pytest

OURS = str(Path(sys.executable).with_name("fence_kdump"))
Answer = tuple[int, object]


@dataclass
class Agent:
    """One run of an agent; ``lines`` fill as it speaks."""

    process: subprocess.Popen[str]

    def heard(self, text: str) -> str:
        """Read stdout up to the first line with ``text`` in it."""
        assert self.process.stdout
        for line in self.process.stdout:
            if text in line:
                return line
        pytest.fail(f"the agent ended without {text!r}: {self.process.communicate()}")

    def end(self, timeout: float = 20) -> tuple[int, str, str]:
        """Exit status and what it said since."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


@pytest.fixture
def start() -> Iterator[Callable[..., Agent]]:
    """Start our agent, or the program of another path, with arguments or with ``stdin`` lines."""
    running: list[subprocess.Popen[str]] = []

    def run(
        *arguments: str | int, stdin: str | None = None, program: str = OURS, **environment: str
    ) -> Agent:
        process = subprocess.Popen(
            [program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LC_ALL": "C", **environment},
        )
        running.append(process)
        assert process.stdin
        if stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
            process.stdin = None
        return Agent(process)

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    """A UDP port that nobody held a moment ago."""
    return _free_udp_port()


@pytest.fixture
def other_port() -> int:
    """Another one."""
    return _free_udp_port()


@dataclass
class Scripted:
    """A daemon that answers from a table: the path without its query gives what ``answers`` says."""

    where: str
    answers: dict[str, Answer | Callable[[str], Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _UnixServer(_Server):
    address_family = socket.AF_UNIX


def _handler(daemon: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the name is http.server's
            daemon.asked.append(self.path)
            daemon.tokens.append(self.headers.get("Authorization"))
            answer = daemon.answers.get(self.path.partition("?")[0], (404, {"error": "no such node"}))
            status, content = answer(self.path) if callable(answer) else answer
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "client"

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., Scripted]]:
    """Start a scripted daemon on a Unix socket, or with ``wrap``, its TLS, on a port of loopback."""
    servers: list[_Server] = []

    def run(*, wrap: Callable[[socket.socket], socket.socket] | None = None) -> Scripted:
        scripted = Scripted("")
        server: _Server
        if wrap:
            server = _Server(("127.0.0.1", 0), _handler(scripted))
            scripted.where = f"https://localhost:{server.server_address[1]}"
        else:
            scripted.where = str(tmp_path / f"daemon{len(servers)}.sock")
            server = _UnixServer(scripted.where, _handler(scripted))  # type: ignore[arg-type]
        if wrap:
            server.socket = wrap(server.socket)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return scripted

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()
