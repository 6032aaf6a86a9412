"""What is kept of an enrolled key, and of the host whose it is."""

from __future__ import annotations

import base64
import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.hosts import records
from receiver.hosts.addresses import BadAddress, check_address
from receiver.hosts.public_key import PublicKey
from receiver.hosts.records import Damaged

_HEX = re.compile(r"[0-9a-f]{64}\.json")


@dataclass(frozen=True, slots=True)
class EnrolledKey:
    """One key of one host. `addresses` are IP addresses or networks; none means anywhere."""

    host: str
    fingerprint: str  # as ssh-keygen -l shows it
    algorithm: str
    bits: int
    key: str  # one line of OpenSSH's public key format, without the comment
    comment: str
    addresses: tuple[str, ...]
    shared: bool
    added: str  # UTC, ISO 8601
    how: str  # "cli" or "token ID"


@dataclass(frozen=True, slots=True)
class Host:
    """A host is all its keys. `damaged` says what is wrong with files that hold no valid one."""

    name: str
    keys: tuple[EnrolledKey, ...]
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """What enrolling did: worth a line in the log where a host that was there has now another key."""

    key: EnrolledKey
    before: EnrolledKey | None  # what the host had of this key already
    others: tuple[str, ...]  # fingerprints of the host's other keys, which stay valid


def entry(
    host: str, key: PublicKey, how: str, addresses: tuple[str, ...] = (), shared: bool = False
) -> EnrolledKey:
    """`key` as `host`'s, from now on."""
    return EnrolledKey(
        host=host,
        fingerprint=key.fingerprint,
        algorithm=key.algorithm,
        bits=key.bits,
        key=key.line,
        comment=key.comment,
        addresses=addresses,
        shared=shared,
        added=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        how=how,
    )


def load(path: Path, host: str) -> EnrolledKey:
    """The key of a file, which must be `host`'s.

    Raises:
        Damaged: no such file, or it holds something else.
    """
    found = records.read(path)
    if found is None:
        raise Damaged(f"{path}: it is gone")
    try:
        key = EnrolledKey(
            host=_text(found["host"]),
            fingerprint=_text(found["fingerprint"]),
            algorithm=_text(found["algorithm"]),
            bits=int(found["bits"]),
            key=_text(found["key"]),
            comment=_text(found["comment"]),
            addresses=tuple(check_address(_text(address)) for address in found["addresses"]),
            shared=found["shared"] is True,
            added=_text(found["added"]),
            how=_text(found["how"]),
        )
    except (KeyError, TypeError, ValueError, BadAddress) as error:
        raise Damaged(f"{path}: not an enrolled key: {error!r}") from None
    if key.host != host:
        raise Damaged(f"{path}: it names the host {key.host!r}")
    if file_name(key.fingerprint) != path.name:
        raise Damaged(f"{path}: it holds the key {key.fingerprint}")
    return key


def file_name(fingerprint: str) -> str:
    """Base64 has '/' and tells case apart; the file's name is the digest in hex. Not a fingerprint: ''."""
    kind, _, digest = fingerprint.partition(":")
    try:
        raw = base64.b64decode(digest + "=", validate=True)
    except ValueError:
        return ""
    return f"{raw.hex()}.json" if kind == "SHA256" and len(raw) == 32 else ""


def fingerprint_of(path: Path) -> str:
    """The other way round; a file of another name: ''."""
    if not _HEX.fullmatch(path.name):
        return ""
    digest = base64.b64encode(bytes.fromhex(path.stem)).decode().rstrip("=")
    return f"SHA256:{digest}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
