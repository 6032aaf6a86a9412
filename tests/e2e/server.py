"""A plain OpenSSH server on a free port of loopback; the guest knows loopback as 10.0.2.2."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sshd:
    """``dumps`` is the directory for kdump.conf's path; ``key`` a private key that is let in as root."""

    port: int
    dumps: Path
    key: Path
    host_key_line: str  # of known_hosts, for the guest's name of us

    def files(self) -> dict[str, Path]:
        """The files of the one dump directory, by name."""
        return {path.name: path for path in self.dumps.glob("*/*")}


@contextmanager
def sshd(home: Path) -> Iterator[Sshd]:
    """Run it until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    dumps, key, host_key = home / "dumps", home / "id", home / "host_key"
    dumps.mkdir(exist_ok=True)
    for path in (key, host_key):
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    config = home / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nListenAddress [::1]:{port}\n"
        f"HostKey {host_key}\nAuthorizedKeysFile {key}.pub\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nPidFile none\n"
    )
    with (home / "sshd.log").open("wb") as log:
        daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or daemon.poll() is not None:
                        raise RuntimeError((home / "sshd.log").read_text()) from None
                    time.sleep(0.05)
            kind, blob = Path(f"{host_key}.pub").read_text().split()[:2]
            yield Sshd(port, dumps, key, f"[10.0.2.2]:{port} {kind} {blob}")
        finally:
            daemon.terminate()
            daemon.wait(10)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Our own collector; ``tool`` is its command with the options that name this instance."""

    port: int
    key: Path
    host_key_line: str
    tool: tuple[str, ...]

    def dumps(self) -> list[dict[str, object]]:
        """What `kdump-receiver list --json` says."""
        done = subprocess.run([*self.tool, "list", "--json"], capture_output=True, text=True, timeout=60)
        found = json.loads(done.stdout or "[]")
        assert isinstance(found, list)
        return found


@contextmanager
def receiver(home: Path, name: str) -> Iterator[Receiver]:
    """Run `kdump-receiver` on a free port of loopback, with one host enrolled as ``name``."""
    home.mkdir(parents=True, exist_ok=True)
    key = home / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    program = str(Path(sys.executable).parent / "kdump-receiver")
    tool = (program, "--root", str(home / "root"))
    enrol = [*tool, "host", "add", name, "--key", f"{key}.pub"]
    subprocess.run(enrol, check=True, capture_output=True, timeout=60)
    with (home / "receiver.log").open("wb") as log:
        daemon = subprocess.Popen(
            [*tool, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert daemon.stdout is not None
        try:
            line = daemon.stdout.readline()
            if not line:
                raise RuntimeError((home / "receiver.log").read_text())
            port = int(json.loads(line)["ssh"].rpartition(":")[2])
            scanned = subprocess.run(
                ["ssh-keyscan", "-t", "ed25519", "-p", str(port), "127.0.0.1"],
                capture_output=True,
                text=True,
                timeout=30,
            ).stdout
            kind, blob = next(row.split()[1:3] for row in scanned.splitlines() if not row.startswith("#"))
            yield Receiver(port, key, f"[10.0.2.2]:{port} {kind} {blob}", tool)
        finally:
            daemon.terminate()
            daemon.wait(20)
            daemon.stdout.close()


@dataclass(frozen=True, slots=True)
class Fence:
    """Our own listener for fence_kdump messages on a port of loopback."""

    port: int
    tool: tuple[str, ...]
    socket: Path

    def events(self) -> list[str]:
        """The kinds of what happened to nodes, in order: node.dumping, node.saved."""
        done = subprocess.run(
            [*self.tool, "events", "--json", "--socket", str(self.socket)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        kinds = [str(json.loads(line)["type"]) for line in done.stdout.splitlines()]
        return [kind.partition("fence.")[2] for kind in kinds if ".node." in kind]


@contextmanager
def fence(home: Path, node: str) -> Iterator[Fence]:
    """Run `kdump-fence`; QEMU's user network shows every guest as 127.0.0.1."""
    home.mkdir(parents=True, exist_ok=True)
    tool = (str(Path(sys.executable).parent / "kdump-fence"),)
    words = ["--listen", "127.0.0.1:0", "--socket", str(home / "sock"), "--state-dir", str(home / "state")]
    words += ["--node", f"{node}=127.0.0.1"]
    with (home / "fence.log").open("wb") as log:
        daemon = subprocess.Popen(
            [*tool, "serve", *words, "--node", f"{node}=127.0.0.1"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert daemon.stdout is not None
        try:
            line = daemon.stdout.readline()
            if not line:
                raise RuntimeError((home / "fence.log").read_text())
            yield Fence(int(json.loads(line)["udp"].rpartition(":")[2]), tool, home / "sock")
        finally:
            daemon.terminate()
            daemon.wait(20)
            daemon.stdout.close()


GANESHA = """
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Bind_addr = 127.0.0.1; Enable_NLM = false;
    Enable_RQUOTA = false; }}
NFSV4 {{ Graceless = true; RecoveryRoot = "{home}/recovery"; Minor_Versions = 0, 1, 2; }}
EXPORT {{ Export_Id = 1; Path = "{exported}"; Pseudo = "/export"; Access_Type = RW;
    Squash = No_Root_Squash; SecType = sys; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""


@dataclass(frozen=True, slots=True)
class Nfs:
    """``exported`` is what the guest knows as 10.0.2.100:/export, by QEMU's words in ``netdev``."""

    exported: Path
    netdev: str


@contextmanager
def nfs(home: Path) -> Iterator[Nfs]:
    """nfs-ganesha, the user-space server, on a free port of loopback; it speaks version 4 alone."""
    exported = home / "exported"
    exported.mkdir(parents=True)
    (home / "recovery").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, log = home / "ganesha.conf", home / "ganesha.log"
    config.write_text(GANESHA.format(port=port, home=home, exported=exported))
    argv = ["ganesha.nfsd", "-F", "-f", str(config), "-L", str(log), "-p", str(home / "pid")]
    with (home / "out").open("wb") as out:
        daemon = subprocess.Popen(argv, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or daemon.poll() is not None:
                        raise RuntimeError(log.read_text() if log.exists() else "no log") from None
                    time.sleep(0.1)
            forward = f"guestfwd=tcp:10.0.2.100:2049-cmd:busybox nc 127.0.0.1 {port}"
            yield Nfs(exported, f"user,id=n0,{forward}")
        finally:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(10)
