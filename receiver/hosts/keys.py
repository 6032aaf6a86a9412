"""The enrolled hosts: a small file for each key, found by its fingerprint.

Files are the truth, so that `host add` on the command line and every worker process see
the same hosts at once, and a login reads one file however many hosts there are.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from receiver.durable import locked, make_directory, write_file
from receiver.failure import Failure
from receiver.hosts.identity import Denied, Identity, check_host_name

RSA_BITS: Final = 2048  # the least an RSA key must have
KEYS_OF_HOST: Final = 32
_PRIVATE = "PRIVATE KEY"


class KeyRefused(Failure):
    """A key that cannot be enrolled; the text says why."""

    exit_code = 65  # EX_DATAERR


@dataclass(frozen=True, slots=True)
class EnrolledKey:
    """One key of one host. `addresses` are IP addresses or networks; none means anywhere."""

    host: str
    fingerprint: str  # as ssh-keygen -l shows it
    key: str  # one line of OpenSSH's public key format, without the comment
    comment: str
    addresses: tuple[str, ...]
    shared: bool
    added: str  # UTC, ISO 8601
    how: str  # "cli" or "token ID"


class HostKeys:
    """All enrolled keys, below `state`."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "keys"
        make_directory(self._directory)

    def add(
        self, host: str, text: str, *, addresses: Sequence[str] = (), shared: bool = False, how: str = "cli"
    ) -> EnrolledKey:
        """Let `host` in with the public key of `text`.

        Raises:
            KeyRefused: no public key, a weak one, or another host's.
            BadName: not a host's name.
        """
        host = check_host_name(host)
        key = read_public_key(text)
        new = EnrolledKey(
            host=host,
            fingerprint=key.get_fingerprint(),
            key=" ".join(key.export_public_key("openssh").decode().split()[:2]),
            comment=_clean(key.get_comment() or ""),
            addresses=tuple(check_address(address) for address in addresses),
            shared=shared,
            added=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            how=how,
        )
        with locked(self._directory):
            self._check_free(new)
            write_file(self._path(new.fingerprint), json.dumps(asdict(new), indent=1).encode())
        return new

    def _check_free(self, new: EnrolledKey) -> None:
        there = self._read(new.fingerprint)
        if there is not None and there.host != new.host:
            raise KeyRefused(
                f"{new.fingerprint} is already {there.host}'s key; a key that hosts share is added once, "
                f"with --shared, and `host remove {there.host}` frees it"
            )
        if there is None and len(self.of(new.host)) >= KEYS_OF_HOST:
            raise KeyRefused(f"{new.host} has {KEYS_OF_HOST} keys already; `host remove {new.host}` first")

    def find(self, key: asyncssh.SSHKey, peer: str) -> Identity | Denied:
        """Whose key it is, when it comes from `peer`. Reads one file."""
        fingerprint = key.get_fingerprint()
        enrolled = self._read(fingerprint)
        if enrolled is None:
            return Denied(f"no host has the key {fingerprint}")
        if enrolled.addresses and not comes_from(peer, enrolled.addresses):
            return Denied(f"{enrolled.host}'s key {fingerprint} may not come from {peer}")
        name = f"{enrolled.host}@{peer}" if enrolled.shared else enrolled.host
        return Identity(name=name, host=enrolled.host, how="key", peer=peer, detail=fingerprint)

    def has(self, key: asyncssh.SSHKey) -> str | None:
        """The host that has this key."""
        enrolled = self._read(key.get_fingerprint())
        return enrolled.host if enrolled else None

    def all(self) -> list[EnrolledKey]:
        """Every key, by host."""
        found = [self._load(path) for path in self._directory.glob("*.json")]
        return sorted((key for key in found if key), key=lambda key: (key.host, key.added, key.fingerprint))

    def of(self, host: str) -> list[EnrolledKey]:
        """The keys of one host."""
        return [key for key in self.all() if key.host == host]

    def remove(self, host: str) -> list[EnrolledKey]:
        """Shut `host` out from its next login on; its dumps stay. Gives the keys that went."""
        with locked(self._directory):
            gone = self.of(host)
            for key in gone:
                self._path(key.fingerprint).unlink(missing_ok=True)
        return gone

    def _read(self, fingerprint: str) -> EnrolledKey | None:
        return self._load(self._path(fingerprint))

    @staticmethod
    def _load(path: Path) -> EnrolledKey | None:
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        return EnrolledKey(**values | {"addresses": tuple(values["addresses"])})

    def _path(self, fingerprint: str) -> Path:
        # Base64 has '/' and tells case apart; the file's name shall do neither.
        return self._directory / f"{fingerprint.partition(':')[2].encode().hex()}.json"


def read_public_key(text: str) -> asyncssh.SSHKey:
    """One public key, as in a ``.pub`` file.

    Raises:
        KeyRefused: what is there instead, or why the key is too weak.
    """
    if _PRIVATE in text:
        raise KeyRefused("that is a PRIVATE key: keep it secret and give the file that ends in .pub")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1:
        raise KeyRefused(f"one public key was expected, there are {len(lines)} lines")
    try:
        key = asyncssh.import_public_key(lines[0])
    except (asyncssh.KeyImportError, ValueError):
        raise KeyRefused(
            f"not a public key: {_clean(lines[0])[:60]!r}; it begins with its type, like 'ssh-ed25519 AAAA…'"
        ) from None
    algorithm = key.get_algorithm()
    if algorithm == "ssh-dss":
        raise KeyRefused("DSA keys are too weak; make another with: ssh-keygen -t ed25519")
    bits = _rsa_bits(key)
    if bits is not None and bits < RSA_BITS:
        raise KeyRefused(f"an RSA key of {bits} bits is too weak; {RSA_BITS} are the least")
    return key


def _rsa_bits(key: asyncssh.SSHKey) -> int | None:
    pyca = key.pyca_key
    return pyca.key_size if isinstance(pyca, RSAPublicKey) else None


def check_address(text: str) -> str:
    """An address or a network in one spelling. Raises KeyRefused."""
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError as error:
        raise KeyRefused(f"{text!r} is neither an IP address nor a network: {error}") from None


def comes_from(peer: str, addresses: Sequence[str]) -> bool:
    """Whether `peer` is one of `addresses` or in one of their networks."""
    try:
        found = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(address) for address in addresses)


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]
