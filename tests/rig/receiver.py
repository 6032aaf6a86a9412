"""A real `kdump-receiver serve` in a process of its own, and real clients that know it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PROGRAM = Path(sysconfig.get_path("scripts")) / "kdump-receiver"
SECONDS = 60  # that any one client may take


@dataclass
class Receiver:
    """A server below `directory`: its spool is ``directory/spool``. Use it as a context."""

    directory: Path
    settings: str = ""
    arguments: tuple[str, ...] = ()
    port: int = 0
    web: str | None = None  # HOST:PORT for page and API; None: there is none
    ready: dict[str, Any] = field(default_factory=dict)  # what it printed when it listened
    before: tuple[str, ...] = ()  # programs that run the server, as `unshare` does
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.directory / "server.log"
        self.config = self.directory / "receiver.toml"
        self.root = self.directory / "spool"
        web, root = json.dumps(self.web or ""), json.dumps(str(self.root))
        self.config.write_text(f"web = {web}\nroot = {root}\nkeep_free = 0\n{self.settings}\n")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve; returns when clients may come. A second start keeps the port."""
        command = [str(PROGRAM), "--config", str(self.config), "serve", "--listen", f"127.0.0.1:{self.port}"]
        if self.web and self.ready:  # a second start keeps this port, too
            command += ["--web", self.ready["web"].rpartition("/")[2]]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*self.before, *command, *self.arguments], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")
        self.ready = json.loads(line)
        self.port = int(self.ready["ssh"].rpartition(":")[2])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """End the server by `number` and wait for it."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout:
                process.stdout.close()
        return status

    def kill(self) -> None:
        """As a power cut would, for the process."""
        self.stop(signal.SIGKILL)

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`kdump-receiver ARGUMENTS` on this server's spool."""
        command = [*self.inside(), str(PROGRAM), "--config", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=check)

    def inside(self) -> list[str]:
        """What runs a program where the server sees the same files."""
        return []

    def dumps(self, *arguments: str) -> list[dict[str, Any]]:
        """What `list --json` says."""
        found: list[dict[str, Any]] = json.loads(self.cli("list", "--json", *arguments, check=False).stdout)
        return found

    def dump(self) -> dict[str, Any]:
        """The only dump."""
        (only,) = self.dumps()
        return only

    def file(self, name: str = "vmcore") -> Path:
        """A file of the only dump."""
        return Path(self.dump()["path"]) / name


def keygen(directory: Path, name: str = "key", kind: str = "ed25519") -> Path:
    """A fresh key pair; the private half's path."""
    path = directory / name
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{name}", "-f", str(path)]
    subprocess.run(command, check=True, timeout=SECONDS)
    return path


@dataclass
class Client:
    """A host with the system's own ssh, scp, sftp and lftp, and a home of its own."""

    receiver: Receiver
    home: Path
    key: Path
    user: str = "kdump"

    @classmethod
    def enrolled(cls, receiver: Receiver, name: str, kind: str = "ed25519", *options: str) -> Client:
        """A host that `host add` let in."""
        home = receiver.directory / f"home-{name}"
        home.mkdir()
        key = keygen(home, name, kind)
        receiver.cli("host", "add", name, "--key", f"{key}.pub", *options)
        return cls(receiver, home, key)

    @property
    def options(self) -> list[str]:
        """What kdump-utils passes to ssh, and where this test's files lie."""
        known = self.home / "known_hosts"
        return [
            *("-F", "none", "-i", str(self.key), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=accept-new"),
        ]

    @property
    def target(self) -> str:
        return f"{self.user}@127.0.0.1"

    def ssh(
        self, command: str, *options: str, stdin: Path | bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """`ssh TARGET COMMAND < stdin`."""
        line = ["ssh", *self.options, "-p", str(self.receiver.port), *options, self.target, command]
        if isinstance(stdin, Path):
            with stdin.open("rb") as file:
                return subprocess.run(line, stdin=file, capture_output=True, timeout=SECONDS, check=check)
        return subprocess.run(line, input=stdin, capture_output=True, timeout=SECONDS, check=check)

    def scp(
        self, source: Path | str, target: Path | str, *options: str
    ) -> subprocess.CompletedProcess[bytes]:
        """`scp SOURCE TARGET`; a leading colon stands for the server."""
        ends = [f"{self.target}{end}" if str(end).startswith(":") else str(end) for end in (source, target)]
        line = ["scp", *self.options, "-P", str(self.receiver.port), *options, *ends]
        return subprocess.run(line, capture_output=True, timeout=SECONDS, check=False)


def environment(client: Client) -> dict[str, str]:
    """The variables for programs that find ssh by themselves: HOME, and a PATH without surprises."""
    return {"HOME": str(client.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


def have(program: str) -> str | None:
    """Where `program` is, sbin included."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


PYTHON = sys.executable
