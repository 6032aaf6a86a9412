"""Enrolment tokens: passwords that let a client store its key, some number of times, until they expire.

A token is 100 random bits, so one round of sha256 keeps it: there is nothing to guess
that a slow hash would protect.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from receiver.durable import locked, make_directory, write_file
from receiver.failure import Failure
from receiver.hosts.identity import Denied, Identity, check_host_name
from receiver.hosts.keys import HostKeys, KeyRefused, read_public_key

_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"  # none that look alike when typed from paper
_ID, _SECRET = 6, 20  # letters
KEYS_AT_ONCE: Final = 8  # lines that one ssh-copy-id may bring
MORE_NAMES: Final = 100  # unbound hosts that may come from one address


class TokenError(Failure):
    """No such token, or one that cannot be made."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token: never the secret."""

    id: str
    salt: str
    sha256: str
    host: str | None  # None: whoever connects
    uses_left: int
    expires: str  # UTC, ISO 8601
    created: str
    note: str


class Tokens:
    """All tokens, below `state`: a file each, so that every process spends the same uses."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "tokens"
        self._hosts = HostKeys(state)
        make_directory(self._directory)

    def create(
        self, *, host: str | None, uses: int, expires_in_seconds: float, now: float, note: str = ""
    ) -> tuple[Token, str]:
        """A new token and its text, which is not kept. Raises BadName."""
        if host is not None:
            host = check_host_name(host)
        identifier, secret = _random(_ID), _random(_SECRET)
        salt = secrets.token_hex(8)
        token = Token(
            id=identifier,
            salt=salt,
            sha256=_hash(salt, secret),
            host=host,
            uses_left=uses,
            expires=_stamp(now + expires_in_seconds),
            created=_stamp(now),
            note=note,
        )
        self._write(token)
        return token, f"kdump-{identifier}-{secret}"

    def check(self, text: str, now: float) -> Token | Denied:
        """The token that `text` is, while it may be used; an unknown id takes as long as a known one."""
        prefix, _, rest = text.strip().partition("-")
        identifier, _, secret = rest.partition("-")
        token = self._read(identifier) if prefix == "kdump" and _is_id(identifier) else None
        salt, expected = (token.salt, token.sha256) if token else ("", "")
        right = hmac.compare_digest(_hash(salt, secret), expected.ljust(64))
        if token is None or not right:
            return Denied("wrong password: it is no token")
        return self._usable(token, now)

    def _usable(self, token: Token, now: float) -> Token | Denied:
        if token.expires <= _stamp(now):
            return Denied(f"token {token.id} expired {token.expires}")
        if token.uses_left <= 0:
            return Denied(f"token {token.id} has no uses left")
        return token

    def enrol(self, identifier: str, lines: bytes, peer: str, now: float) -> list[Identity]:
        """Store the public keys of `lines` and spend one use: all of it or nothing.

        Keys of a bound token become its host's. An unbound token's host is named by its
        address, never by what the client says, and never joins a host that is there
        already: else a token for anybody would open everybody's name space.

        Raises:
            TokenError: the token was used up, revoked or expired meanwhile.
            KeyRefused: a line is no key, a weak one, or another host's.
        """
        texts = _key_lines(lines)
        keys = [read_public_key(text) for text in texts]
        with locked(self._directory):
            found = self._read(identifier)
            usable = self._usable(found, now) if found else Denied(f"token {identifier} was revoked")
            if isinstance(usable, Denied):
                raise TokenError(usable.reason)
            owners = {owner for key in keys if (owner := self._hosts.has(key))}
            host = usable.host or self._name_for(peer, owners)
            if owners - {host}:
                raise KeyRefused(f"this key is already enrolled for {', '.join(sorted(owners - {host}))}")
            added = [self._hosts.add(host, text, how=f"token {identifier}") for text in texts]
            self._write(replace(usable, uses_left=usable.uses_left - 1))
        return [Identity(host, host, "key", peer, key.fingerprint) for key in added]

    def _name_for(self, peer: str, owners: set[str]) -> str:
        """A free name for an unbound host; the one it has when it only comes again with the same key."""
        spelled = peer.replace(":", "_")
        for name in (peer, *(f"ip-{spelled}-{n}" for n in range(2, MORE_NAMES))):
            if name in owners or not self._hosts.of(name):
                return name
        raise TokenError(f"{MORE_NAMES} hosts came from {peer} already; bind tokens to host names")

    def all(self) -> list[Token]:
        """Every token, the oldest first."""
        found = (self._read(path.stem) for path in self._directory.glob("*.json"))
        return sorted((token for token in found if token), key=lambda token: (token.created, token.id))

    def revoke(self, identifier: str) -> bool:
        """Whether there was such a token; there is none now."""
        if not _is_id(identifier) or self._read(identifier) is None:
            return False
        with locked(self._directory):
            (self._directory / f"{identifier}.json").unlink(missing_ok=True)
        return True

    def _read(self, identifier: str) -> Token | None:
        try:
            return Token(**json.loads((self._directory / f"{identifier}.json").read_bytes()))
        except FileNotFoundError:
            return None

    def _write(self, token: Token) -> None:
        write_file(self._directory / f"{token.id}.json", json.dumps(asdict(token), indent=1).encode())


def _key_lines(lines: bytes) -> Sequence[str]:
    text = lines.decode(errors="replace")
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not 1 <= len(found) <= KEYS_AT_ONCE:
        raise KeyRefused(f"1 to {KEYS_AT_ONCE} public keys were expected on standard input, not {len(found)}")
    return found


def _random(letters: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(letters))


def _is_id(text: str) -> bool:
    return len(text) == _ID and set(text) <= set(_LETTERS)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def _stamp(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
