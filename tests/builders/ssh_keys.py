"""Keys, CAs and certificates as people make them: with ssh-keygen."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

SECONDS = 60


def keygen(
    directory: Path, name: str, kind: str = "ed25519", bits: int = 0, comment: str = "root@host"
) -> Path:
    """A fresh key pair; the private half's path. The public half has ``.pub`` behind it."""
    path = directory / name
    size = ["-b", str(bits)] if bits else []
    _run("-q", "-t", kind, *size, "-N", "", "-C", comment, "-f", str(path))
    return path


def public(key: Path) -> str:
    """The text of the key's ``.pub`` file."""
    return Path(f"{key}.pub").read_text()


def blob(line: str) -> bytes:
    """What the base64 of a ``.pub`` line holds."""
    return base64.b64decode(line.split()[1])


def fingerprint(path: Path) -> str:
    """As `ssh-keygen -l` prints it."""
    return _run("-l", "-f", str(path)).split()[1]


def certify(ca: Path, key: Path, *options: str, principals: str | None = "web01") -> Path:
    """Sign `key` with `ca`; the certificate's path. `options` are ssh-keygen's."""
    names = ["-n", principals] if principals is not None else []
    _run("-q", "-s", str(ca), "-I", "an id", *names, *options, f"{key}.pub")
    return Path(f"{key}-cert.pub")


def _run(*arguments: str) -> str:
    done = subprocess.run(
        ["ssh-keygen", *arguments], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return done.stdout
