"""The two servers that the benchmarks compare, and how their work is counted."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.rig.receiver import Receiver, keygen

TICKS = os.sysconf("SC_CLK_TCK")
USER = "kdumpbench"


class Server(Protocol):
    """What a benchmark needs of either."""

    @property
    def name(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def user(self) -> str: ...

    @property
    def key(self) -> Path: ...

    def pid(self) -> int: ...

    def directory(self, name: str) -> str:
        """Where a client writes."""

    def stored(self, name: str) -> Path:
        """What the server keeps of `name`/vmcore."""


@dataclass
class Ours:
    """kdump-receiver."""

    receiver: Receiver
    key: Path
    name: str = "kdump-receiver"
    user: str = "kdump"

    @property
    def port(self) -> int:
        return self.receiver.port

    def pid(self) -> int:
        return self.receiver.pid

    def directory(self, name: str) -> str:
        return f"/var/crash/{name}"

    def stored(self, name: str) -> Path:
        return self.receiver.root / name / "vmcore"


@dataclass
class Sshd:
    """OpenSSH's sshd with a user of its own whose shell is /bin/sh."""

    port: int
    key: Path
    home: Path
    process: subprocess.Popen[bytes]
    name: str = "sshd"
    user: str = USER

    def pid(self) -> int:
        return self.process.pid

    def directory(self, name: str) -> str:
        return str(self.home / name)

    def stored(self, name: str) -> Path:
        return self.home / name / "vmcore"


@contextmanager
def ours(directory: Path, key: Path, settings: str = "") -> Iterator[Ours]:
    """Our server with `key` enrolled as host bench."""
    directory.mkdir(parents=True, exist_ok=True)
    with Receiver(directory, settings) as receiver:
        receiver.cli("host", "add", "bench", "--key", f"{key}.pub")
        yield Ours(receiver, key)


@contextmanager
def sshd(directory: Path, key: Path) -> Iterator[Sshd]:
    """sshd with `key` for a user that is made for it and removed again."""
    home = directory / "home"
    directory.mkdir(parents=True, exist_ok=True)
    made = False
    with suppress(KeyError):
        pwd.getpwnam(USER)
        made = True
    if not made:
        subprocess.run(["useradd", "-M", "-p", "*", "-d", str(home), "-s", "/bin/sh", USER], check=True)
    try:
        user = pwd.getpwnam(USER)
        home.mkdir(exist_ok=True)
        os.chown(home, user.pw_uid, user.pw_gid)
        shutil.copy(f"{key}.pub", directory / "authorized_keys")
        os.chmod(directory / "authorized_keys", 0o644)
        host_key = directory / "host_key"
        if not host_key.exists():
            keygen(directory, "host_key")
        port = _free_port()
        config = directory / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            "MaxStartups 1000:30:2000\nMaxSessions 100\nSubsystem sftp internal-sftp\nUseDNS no\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        with (directory / "log").open("ab") as log:
            process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=log)
        try:
            _wait_for(port)
            yield Sshd(port, key, home, process)
        finally:
            process.terminate()
            process.wait(10)
    finally:
        if not made:
            subprocess.run(["userdel", USER], check=False, capture_output=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all its children since it was first asked for.

    sshd's children are awaited by nobody that is awaited by it, so times(2) misses most of what it
    does; a control group counts all of them.
    """
    group = _control_group(pid)
    if group is not None:
        usage = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        return int(usage["usage_usec"]) / 1e6
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[n]) for n in (11, 12, 13, 14)) / TICKS


@functools.cache
def _control_group(pid: int) -> Path | None:
    """A group of its own for a process and its children; None where the system has no version 2 groups."""
    for top in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        group = top / f"kdump-bench-{pid}"
        if not (top / "cgroup.controllers").exists():
            continue
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            for member in _family(pid):
                (group / "cgroup.procs").write_text(str(member))
            atexit.register(_remove, group)
            return group
    return None


def _remove(group: Path) -> None:
    with suppress(OSError):
        group.rmdir()


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and all its descendants."""
    total = 0
    for member in _family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def _family(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        with suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                members += [int(child) for child in (task / "children").read_text().split()]
    return members


def ssh(server: Server, *options: str) -> list[str]:
    """The command line of a client, up to the remote command. The same cipher for both servers."""
    return [
        *("ssh", "-F", "none", "-i", str(server.key), "-p", str(server.port)),
        *common(),
        *options,
        f"{server.user}@127.0.0.1",
    ]


def common() -> list[str]:
    """Options that ssh, scp and sftp share."""
    return [
        *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "LogLevel=ERROR", "-o", "Ciphers=aes128-gcm@openssh.com", "-o", "IdentitiesOnly=yes"),
    ]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
