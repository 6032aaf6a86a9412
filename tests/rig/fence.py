"""A real `kdump-fence serve` in a process of its own, and who talks to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio

PROGRAM = Path(sysconfig.get_path("scripts")) / "kdump-fence"
SECONDS = 30  # that any one thing may take


async def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Until the condition holds: for what tells nobody when it happens."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 -- there is no event to wait for
            await trio.sleep(0.005)


@dataclass
class Fence:
    """A daemon below `directory`. Use it as a context. ``prefix``: run it so, e.g. in a network namespace."""

    directory: Path
    settings: str = ""
    arguments: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("127.0.0.1:0",)
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = self.directory / "fence.log"
        self.config = self.directory / "fence.toml"
        self.socket = self.directory / "api.sock"
        drop_in = json.dumps(str(self.directory / "fence.d"))
        self.config.write_text(f"nodes.drop_in = {drop_in}\n{self.settings}\n")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Fence:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve; returns when datagrams may come. A second start keeps the port."""
        where = self.ready.get("udp_all") or self.listen
        command = [*self.prefix, str(PROGRAM), "serve", "--config", str(self.config)]
        command += ["--socket", str(self.socket), "--state-dir", str(self.directory / "state")]
        command += [part for each in where for part in ("--listen", each)]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*command, *self.arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | self.environment,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the daemon did not start:\n{self.log.read_text()}")
        self.ready = json.loads(line)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """Of the first address it listens on."""
        return int(self.ready["udp"].rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """End the daemon by `number` and wait for it."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout:
                process.stdout.close()

    def kill(self) -> None:
        """As the OOM killer would."""
        self.stop(signal.SIGKILL)

    def http(self, timeout: float = SECONDS) -> httpx.Client:
        """A client of the Unix socket."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(base_url="http://fence", transport=transport, timeout=timeout)

    def get(self, path: str, **query: str) -> Any:
        """The JSON of a GET."""
        with self.http() as http:
            answer = http.get(path, params=query)
            return answer.json() | {"status": answer.status_code}

    def post(self, path: str, **body: object) -> Any:
        """The JSON of a POST."""
        with self.http() as http:
            answer = http.post(path, json=body)
            return answer.json() | {"status": answer.status_code}

    def off(self, name: str, timeout: float = 0) -> bool:
        """What the daemon answers."""
        return bool(self.get(f"/v1/nodes/{name}/off", timeout=repr(timeout))["off"])

    def node(self, name: str) -> dict[str, Any]:
        """All of a node."""
        found: dict[str, Any] = self.get(f"/v1/nodes/{name}")
        return found

    def kinds(self) -> list[str]:
        """The events of the journal, by kind."""
        events = self.get("/v1/events", limit="10000")["events"]
        return [event["type"].removeprefix("kdump-net.fence.") for event in events]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`kdump-fence ARGUMENTS` of this daemon."""
        command = [str(PROGRAM), *arguments, "--socket", str(self.socket)]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    def send(self, data: bytes, host: str = "127.0.0.1", source: str = "") -> None:
        """A datagram to it, from an address of ours."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if source:
                sock.bind((source, 0))
            sock.sendto(data, (host, self.port))

    def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Until the condition holds, asked again and again."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never came; the daemon's log:\n{self.log.read_text()}")
            time.sleep(0.02)
