"""A plain OpenSSH server on a free port of loopback; the guest knows loopback as 10.0.2.2."""

from __future__ import annotations

import socket
import subprocess
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
