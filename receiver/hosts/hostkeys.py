"""Our own host keys, made at the first start, and what changed since the last one.

An RSA key is needed beside the ed25519 one: OpenSSH 5.3 (EL6) knows nothing newer. Clients
carry these keys in capture images that are built once, with StrictHostKeyChecking=yes: a
changed key means lost dumps. So keys of an sshd that this server replaces may be put here
under the names they have in /etc/ssh, the ECDSA one too, which clients of OpenSSH 5.7 to 8.4 pinned.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from receiver.durable import locked, write_file
from receiver.failure import Failure
from receiver.hosts import records
from receiver.hosts.public_key import KeyRefused, PublicKey, parse_untrusted
from receiver.hosts.records import Damaged, open_directory, unusable

if TYPE_CHECKING:
    import asyncssh

    from receiver.hosts.certificates import Authorities


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of host key, as asyncssh names it; `make` is how, None: only used where it is."""

    name: str
    algorithm: str
    make: dict[str, Any] | None


KINDS: Final = (
    Kind("ed25519", "ssh-ed25519", {}),
    Kind("ecdsa", "ecdsa-sha2-nistp256", None),
    Kind("rsa", "ssh-rsa", {"key_size": 3072}),
)
PINS: Final = "pins.json"
NOTHING: Final = "none"


class HostKeyError(Failure):
    """A host key cannot be read; a new one is never made in its place."""

    exit_code = 78  # EX_CONFIG


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not as it was at the last start. Fingerprints as `ssh-keygen -l` shows them."""

    what: str
    before: str
    now: str


def load(state: Path) -> list[asyncssh.SSHKey]:
    """The host keys below `state`; RSA and ed25519 are made where there are none.

    Several processes may start at once: one makes the keys, all have the same.

    Raises:
        HostKeyError: a key file is there but no key.
        StateError: the directory cannot be used.
    """
    open_directory(state)
    try:
        with locked(state):
            found = [_load(_path(state, kind), kind) for kind in KINDS]
    except OSError as error:
        raise unusable(error, state) from None
    return [key for key in found if key is not None]


def fingerprints(state: Path) -> list[PublicKey]:
    """What clients will be asked to trust; nothing where the server has not been started yet."""
    found = []
    for kind in KINDS:
        try:
            found.append(parse_untrusted(_public(_path(state, kind)).read_text()))
        except (OSError, UnicodeDecodeError, KeyRefused):
            continue
    return found


def changes(state: Path, keys: Iterable[asyncssh.SSHKey], authorities: Authorities | None) -> list[Change]:
    """What differs from the last start; remembers what there is now. Nothing at the first.

    Raises:
        StateError: the directory cannot be used.
    """
    now = {f"host key {key.get_algorithm()}": key.get_fingerprint() for key in keys}
    if authorities is not None:
        now["user CA"] = " ".join(sorted(authorities.fingerprints))
    path = state / PINS
    try:
        with locked(state):
            found, damage = _pins(path)
            if found != now:
                records.write(path, now)
    except OSError as error:
        raise unusable(error, state) from None
    if damage is not None:
        return [Change("pins", damage, "written anew")]
    if found is None:
        return []
    return [
        Change(what, found.get(what, NOTHING), now.get(what, NOTHING))
        for what in sorted(found.keys() | now.keys())
        if found.get(what) != now.get(what)
    ]


def _pins(path: Path) -> tuple[dict[str, str] | None, str | None]:
    """What the last start saw, and what is wrong with its file."""
    try:
        found = records.read(path)
    except Damaged as damaged:
        return None, str(damaged)
    return (None, None) if found is None else ({what: str(now) for what, now in found.items()}, None)


def _load(path: Path, kind: Kind) -> asyncssh.SSHKey | None:
    import asyncssh

    if not path.exists():
        if kind.make is None:
            return None
        made = asyncssh.generate_private_key(kind.algorithm, comment="kdump-receiver", **kind.make)
        write_file(path, made.export_private_key("openssh"))
    try:
        key = asyncssh.read_private_key(path)
    except (OSError, ValueError) as error:  # asyncssh's own errors are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else error
        raise HostKeyError(
            f"{path}: {reason}; restore it from a backup, without a passphrase: clients trust this key. "
            "Only if it is lost for good, remove the file, and let every client learn the new key"
        ) from None
    if not _same(_public(path), key):
        write_file(_public(path), key.export_public_key("openssh"))
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        with contextlib.suppress(PermissionError):  # somebody else's file: readable on purpose
            path.chmod(0o600)  # put here by hand, as a backup has it
    return key


def _same(public: Path, key: asyncssh.SSHKey) -> bool:
    try:
        return parse_untrusted(public.read_text()).fingerprint == key.get_fingerprint()
    except (OSError, UnicodeDecodeError, KeyRefused):
        return False


def _path(state: Path, kind: Kind) -> Path:
    return state / f"ssh_host_{kind.name}_key"


def _public(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")
