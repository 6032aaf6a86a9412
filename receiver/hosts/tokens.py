"""Enrolment tokens: passwords that let a client store its key, some number of times, until they expire.

A file each below tokens/, so that every process spends the same uses. The secret is in none of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from receiver.durable import locked, sync_directory
from receiver.failure import Failure
from receiver.hosts import records, token_text
from receiver.hosts.enrolled import Added
from receiver.hosts.identity import UNKNOWN_PEER, Denied, Identity, check_host_name, nth_at_address
from receiver.hosts.keys import HostKeys
from receiver.hosts.public_key import KeyRefused, PublicKey, check_strength, lines_of, parse_line_untrusted
from receiver.hosts.records import Damaged, open_directory, unusable

KEYS_AT_ONCE: Final = 8  # keys that one ssh-copy-id may bring
KEY_BYTES_MAX: Final = 64 << 10  # of all its standard input
HOSTS_AT_ADDRESS: Final = 99  # unbound hosts that may come from one address
LONGEST_SECONDS: Final = 10 * 366 * 86400.0  # that a token may last
KEPT_SECONDS: Final = 30 * 86400.0  # that an expired one is still listed
_NOBODY = ("", "0" * 64)  # salt and digest that no secret has


class TokenError(Failure):
    """No such token, none that may be used, or one that cannot be made."""

    exit_code = 65  # EX_DATAERR


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    id: str
    salt: str
    sha256: str
    host: str | None  # None: whoever connects
    uses: int  # that it was made for
    uses_left: int
    expires: str  # UTC, ISO 8601
    created: str
    note: str

    def state(self, now: float) -> str:
        """``usable``, ``used up`` or ``expired``."""
        if self.expires <= _stamp(now):
            return "expired"
        return "usable" if self.uses_left > 0 else "used up"


class Tokens:
    """All tokens, below `state`.

    Raises:
        StateError: (every method) the directory cannot be used.
    """

    def __init__(self, state: Path) -> None:
        self._directory = open_directory(state / "tokens")
        self._hosts = HostKeys(state)

    def create(
        self, *, host: str | None, uses: int = 1, expires_in_seconds: float, now: float, note: str = ""
    ) -> tuple[Token, str]:
        """A new token and its text, which is not kept. Old ones that expired are cleared away.

        Raises:
            BadName: `host` is no host's name.
            TokenError: it would be of no use, or last longer than LONGEST_SECONDS.
        """
        if uses < 1:
            raise TokenError("a token needs at least one use")
        if not 0 < expires_in_seconds <= LONGEST_SECONDS:
            raise TokenError("a token lasts ten years at most, and longer than no time at all")
        salt, secret = secrets.token_hex(16), token_text.new_secret()
        with self._locked():
            self._clear(now)
            identifier = token_text.new_id()
            while self._path(identifier).exists():
                identifier = token_text.new_id()
            token = Token(
                id=identifier,
                salt=salt,
                sha256=token_text.digest(salt, secret),
                host=check_host_name(host) if host is not None else None,
                uses=uses,
                uses_left=uses,
                expires=_stamp(now + expires_in_seconds),
                created=_stamp(now),
                note=note,
            )
            self._write(token)
        return token, token_text.spell(identifier, secret)

    def check(self, typed: str, now: float) -> Token | Denied:
        """The token that `typed` is, while it may be used. Spends nothing: the key's arrival does."""
        identifier, secret = token_text.parse_untrusted(typed) or ("", "")
        token = self._find(identifier)
        if isinstance(token, Denied):
            return token
        # A token that is not there is compared, too: the answer comes as late as for one that is.
        salt, kept = (token.salt, token.sha256) if token else _NOBODY
        if not token_text.matches(salt, kept, secret) or token is None:
            return Denied("a wrong password: it is no token")
        return _usable(token, now)

    def spend(self, identifier: str, now: float) -> Token:
        """Take one use off, once and for all processes.

        Raises:
            TokenError: it has none left, has expired, or was revoked.
        """
        with self._locked():
            return self._spend(identifier, now)

    def enrol(self, identifier: str, lines: bytes, peer: str, now: float) -> list[Identity]:
        """Store the public keys of `lines`, as a client sent them, and spend one use: all or nothing.

        A bound token's keys become its host's. An unbound token's host is named by its address,
        never by what the client says, and never joins a host that is there already: a token
        for anybody would else open everybody's name space. A key that is enrolled already
        stays as it is, and costs no use.

        Gives who the client is with each key from now on.

        Raises:
            TokenError: the token was used up, revoked or expired meanwhile.
            KeyRefused: a line is no key, a weak one, another host's, or one too many.
        """
        keys = [check_strength(key) for key in key_lines_untrusted(lines)]
        with self._locked():
            token = self._find(identifier)
            usable = _usable(token, now) if isinstance(token, Token) else token
            if not isinstance(usable, Token):
                raise TokenError(usable.reason if usable else f"token {identifier} was revoked")
            owners = {self._hosts.owner(key.fingerprint) for key in keys}
            if None not in owners and usable.host in (None, *owners) and len(owners) == 1:
                return self._known_already(keys, peer)
            host = usable.host or self._free_name(peer)
            block = self._hosts.blocks.of(host, usable.host or peer)
            if block is not None:
                raise KeyRefused(f"{block.name} is blocked; only the collector's operator can change that")
            self._spend(identifier, now)  # first: a crash costs a use, it never gives one away
            try:
                added = self._hosts.enrol(host, keys, how=f"token {identifier}")
            except Failure:
                self._write(usable)
                raise
        return [_identity(each, peer) for each in added]

    def revoke(self, identifier: str) -> bool:
        """Whether there was such a token; there is none now."""
        with self._locked():
            path = self._path(identifier)
            if not token_text.is_id(identifier) or not path.exists():
                return False
            path.unlink()
            sync_directory(self._directory)
        return True

    def all(self) -> list[Token]:
        """Every token, the oldest first; damaged ones are left out, they let nobody in."""
        found = [self._find(path.stem) for path in self._directory.glob("*.json")]
        tokens = [token for token in found if isinstance(token, Token)]
        return sorted(tokens, key=lambda token: (token.created, token.id))

    def _known_already(self, keys: list[PublicKey], peer: str) -> list[Identity]:
        """All keys are one host's: nothing is to be done, unless they would not let it in from there."""
        found = [self._hosts.find(key.fingerprint, peer) for key in keys]
        for each in found:
            if isinstance(each, Denied):
                raise KeyRefused(f"this key is enrolled already, but {each.reason}")
        return [each for each in found if isinstance(each, Identity)]

    def _free_name(self, peer: str) -> str:
        """A name for an unbound host that no host has."""
        if peer == UNKNOWN_PEER:
            raise TokenError("the host's address is not known, so it cannot be named; bind the token: --host")
        for n in range(1, HOSTS_AT_ADDRESS + 1):
            name = nth_at_address(peer, n)
            if not self._hosts.exists(name):
                return name
        raise TokenError(f"{HOSTS_AT_ADDRESS} hosts came from {peer} already; bind tokens to names: --host")

    def _spend(self, identifier: str, now: float) -> Token:
        token = self._find(identifier)
        usable = _usable(token, now) if isinstance(token, Token) else token
        if not isinstance(usable, Token):
            raise TokenError(usable.reason if usable else f"token {identifier} was revoked")
        spent = replace(usable, uses_left=usable.uses_left - 1)
        self._write(spent)
        return spent

    def _clear(self, now: float) -> None:
        for token in self.all():
            if token.expires < _stamp(now - KEPT_SECONDS):
                self._path(token.id).unlink(missing_ok=True)

    def _find(self, identifier: str) -> Token | Denied | None:
        """None: there is none. Denied: its file is damaged."""
        if not token_text.is_id(identifier):
            return None
        try:
            found = records.read(self._path(identifier))
            return None if found is None else _token(found, self._path(identifier))
        except Damaged as damaged:
            return Denied(f"{damaged}; revoke it")

    def _write(self, token: Token) -> None:
        records.write(self._path(token.id), asdict(token))

    def _path(self, identifier: str) -> Path:
        return self._directory / f"{identifier}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with locked(self._directory):
                yield
        except OSError as error:
            raise unusable(error, self._directory) from None


def key_lines_untrusted(data: bytes) -> list[PublicKey]:
    """The public keys of an installer's standard input, each once.

    Raises:
        KeyRefused: none, more than KEYS_AT_ONCE, or a line that is none.
    """
    if len(data) > KEY_BYTES_MAX:
        raise KeyRefused(f"{len(data)} bytes are too many for public keys")
    lines = lines_of(data.decode(errors="replace"))
    if not 1 <= len(lines) <= KEYS_AT_ONCE:
        raise KeyRefused(f"1 to {KEYS_AT_ONCE} public keys are wanted on standard input, not {len(lines)}")
    return list(dict.fromkeys(parse_line_untrusted(line) for line in lines))


def _token(found: dict[str, object], path: Path) -> Token:
    try:
        token = Token(**found)  # type: ignore[arg-type]  # what it holds is looked at below
    except TypeError as error:
        raise Damaged(f"{path}: not a token: {error}") from None
    texts = (token.id, token.salt, token.sha256, token.expires, token.created, token.note, token.host or "")
    numbers = (token.uses, token.uses_left)
    if not all(isinstance(text, str) for text in texts) or not all(type(n) is int for n in numbers):
        raise Damaged(f"{path}: not a token")
    if token.id != path.stem:
        raise Damaged(f"{path}: it holds the token {token.id!r}")
    return token


def _usable(token: Token, now: float) -> Token | Denied:
    match token.state(now):
        case "expired":
            return Denied(f"token {token.id} expired {token.expires}")
        case "used up":
            return Denied(f"token {token.id} has no uses left")
    return token


def _identity(added: Added, peer: str) -> Identity:
    key = added.key
    detail = key.fingerprint
    if added.others and added.before is None:
        detail += f" beside {len(added.others)} other key(s), which stay valid"
    return Identity(key.host, key.host, "key", peer, detail)


def _stamp(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
