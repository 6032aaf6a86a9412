"""A crashing host: a shell with the system's own ssh and scp, set up as its kdump has them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receiver.hosts.keys import HostKeys
from tests.rig.receiver import SECONDS, Receiver, keygen

# What OpenSSH 4.3p2 (EL5) and 5.3p1 (EL6) have in common with a server of today; myproposal.h.
EL5 = {
    "KexAlgorithms": "diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha1",
    "HostKeyAlgorithms": "ssh-rsa",
    "PubkeyAcceptedAlgorithms": "ssh-rsa",
    "Ciphers": "aes128-ctr,aes192-ctr,aes256-ctr",
    "MACs": "hmac-sha1",
}
EL6 = EL5 | {
    "KexAlgorithms": "diffie-hellman-group-exchange-sha256,diffie-hellman-group-exchange-sha1,"
    "diffie-hellman-group14-sha1"
}

_SHELL = """
set -o pipefail
ssh() { command ssh -F "$CONFIG" "$@"; }
scp() { command scp -F "$CONFIG" "$@"; }
sftp() { command sftp -F "$CONFIG" "$@"; }
"""


@dataclass
class Machine:
    """`target` stands for user@host of the host's kdump.conf; every path of its lies in `home`."""

    receiver: Receiver
    name: str
    home: Path
    key: Path
    ssh_options: dict[str, str] = field(default_factory=dict)
    target: str = "kdump@collector"

    @classmethod
    def enrolled(
        cls, receiver: Receiver, name: str, kind: str = "ed25519", options: dict[str, str] | None = None
    ) -> Machine:
        """A host whose key is enrolled."""
        machine = cls.stranger(receiver, name, kind, options)
        public = machine.key.with_suffix(".pub").read_text()
        HostKeys(receiver.root / ".state").add(name, public)
        return machine

    @classmethod
    def stranger(
        cls, receiver: Receiver, name: str, kind: str = "ed25519", options: dict[str, str] | None = None
    ) -> Machine:
        """A host that nobody knows; it has the server's host keys in its known_hosts."""
        home = receiver.directory / "homes" / name
        home.mkdir(parents=True)
        machine = cls(receiver, name, home, keygen(home, "id", kind), options or {})
        machine.trust()
        return machine

    def trust(self) -> None:
        """Pin the server's host keys, as the admin does before the initrd is built."""
        publics = sorted((self.receiver.root / ".state").glob("ssh_host_*_key.pub"))
        lines = [f"collector {public.read_text()}" for public in publics]
        (self.home / "known_hosts").write_text("".join(lines))

    @property
    def config(self) -> Path:
        """Its ssh_config: kdump's options say the rest on the command line."""
        path = self.home / "ssh_config"
        settings = {
            "HostName": "127.0.0.1",
            "Port": str(self.receiver.port),
            "HostKeyAlias": "collector",
            "UserKnownHostsFile": str(self.home / "known_hosts"),
            "StrictHostKeyChecking": "yes",
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
        } | self.ssh_options
        path.write_text("Host *\n" + "".join(f"    {key} {value}\n" for key, value in settings.items()))
        return path

    def sh(self, script: str, *, check: bool = True, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run `script`; ``$T`` is the target, ``$KEY`` the key, the rest of `variables` by their names."""
        known = {"CONFIG": self.config, "KEY": self.key, "T": self.target, "HOME": self.home}
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        environment |= {name: str(value) for name, value in (known | variables).items()}
        done = subprocess.run(
            ["bash", "-c", _SHELL + script],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{script}\nexited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def ssh(
        self, command: str, *, stdin: bytes = b"", check: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """One command, as one connection."""
        line = ["ssh", "-F", str(self.config), self.target, command]
        return subprocess.run(line, input=stdin, capture_output=True, timeout=SECONDS, check=check)

    @contextmanager
    def one_connection(self) -> Iterator[None]:
        """Within it, every ssh and scp is a session of one connection, which is quicker."""
        with tempfile.TemporaryDirectory() as short:  # a socket's name has 108 bytes at most
            more = {"ControlMaster": "auto", "ControlPath": f"{short}/master", "ControlPersist": "60"}
            before, self.ssh_options = self.ssh_options, self.ssh_options | more
            try:
                yield
            finally:
                self.sh("ssh -O exit $T", check=False)
                self.ssh_options = before

    def dumps(self) -> list[dict[str, Any]]:
        """The manifests of the dumps in its name space, the oldest first."""
        found = [json.loads(path.read_bytes()) for path in self.receiver.root.glob("*/manifest.json")]
        return sorted((dump for dump in found if dump["host"] == self.name), key=lambda dump: dump["date"])

    def dump(self) -> dict[str, Any]:
        """Its only dump."""
        (only,) = self.dumps()
        return only

    def directory(self) -> Path:
        """Where its only dump lies."""
        return self.receiver.root / str(self.dump()["directory"])


def quoted(path: Path) -> str:
    """`path` as a word of a shell's line."""
    return shlex.quote(str(path))
