"""Our own host keys, made at the first start, and what changed since the last one.

An RSA key is needed beside the ed25519 one: OpenSSH 5.3 (EL6) knows nothing newer.
Clients pin these keys in images that are built once: a changed key means lost dumps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncssh

from receiver.durable import locked, make_directory, write_file
from receiver.failure import Failure
from receiver.hosts.certificates import Authorities

KINDS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("ed25519", "ssh-ed25519", {}),
    ("rsa", "ssh-rsa", {"key_size": 3072}),
)
PINS: Final = "pins.json"


class HostKeyError(Failure):
    """A host key cannot be read; a new one is never made in its place."""

    exit_code = 78  # EX_CONFIG


@dataclass(frozen=True, slots=True)
class Change:
    """A key that is not the one of the last start. Fingerprints as `ssh-keygen -l` shows them."""

    what: str
    before: str
    now: str


def load(state: Path) -> list[asyncssh.SSHKey]:
    """The host keys below `state`, made where there are none.

    Raises:
        HostKeyError: a key file is there but no key.
    """
    make_directory(state)
    with locked(state):
        return [_load(state / f"ssh_host_{name}_key", kind, more) for name, kind, more in KINDS]


def _load(path: Path, kind: str, more: dict[str, Any]) -> asyncssh.SSHKey:
    if not path.exists():
        key = asyncssh.generate_private_key(kind, comment="kdump-receiver", **more)
        write_file(path.with_name(path.name + ".pub"), key.export_public_key("openssh"))
        write_file(path, key.export_private_key("openssh"))
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError, ValueError) as error:
        raise HostKeyError(
            f"{path}: {error}; restore it from a backup: clients trust this key. Only if it is lost for "
            "good, remove the file, and let every client learn the new key"
        ) from None


def changes(state: Path, keys: list[asyncssh.SSHKey], authorities: Authorities | None) -> list[Change]:
    """What differs from the last start; remembers what there is now."""
    now = {f"host key {key.get_algorithm()}": key.get_fingerprint() for key in keys}
    if authorities is not None:
        now["user CA"] = " ".join(sorted(authorities.fingerprints))
    path = state / PINS
    with locked(state):
        try:
            before: dict[str, str] = json.loads(path.read_bytes())
        except FileNotFoundError:
            before = {}
        if now != before:
            write_file(path, json.dumps(now, indent=1).encode())
    return [
        Change(what, before[what], now.get(what, "none"))
        for what in sorted(before)
        if before[what] != now.get(what)
    ]
