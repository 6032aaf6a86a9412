"""Who may ask and who may tell: users of the Unix socket by their credentials, others by a bearer token."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from fence.settings import Api, Scope, Token


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of the Unix socket (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return _name(self.uid)


class Denied(Exception):
    """Not allowed. ``status`` is HTTP's: 401 says "who are you", 403 "not you"."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def allowed(api: Api, scope: Scope, peer: Peer | None, authorization: str | None) -> str:
    """Who it is that may do what needs ``scope``, for the journal.

    Raises:
        Denied: nobody we know, or not this one.
    """
    if peer is not None:
        users = {"read": None, "alive": api.alive_users, "evidence": api.evidence_users}[scope]
        if users is None or peer.uid in (0, os.geteuid(), *users):
            return str(peer)
        raise Denied(403, f"{peer} may not do this; see `api.{scope}_users` in the settings")
    kind, _, text = (authorization or "").partition(" ")
    token = _token(api.token, text.strip()) if kind.lower() == "bearer" else None
    if token is None:
        raise Denied(401, "say a token we know: `Authorization: Bearer TOKEN`")
    if scope not in token.scopes:
        raise Denied(403, f"the token {token.name!r} has no scope {scope!r}; see `api.token` in the settings")
    return token.name


@cache
def _name(uid: int) -> str:
    """By /etc/passwd alone: a directory service that hangs must not hold up an answer."""
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/etc/passwd").read_text().splitlines():
            name, *rest = line.split(":")
            if rest[1:2] == [str(uid)]:
                return name
    return f"uid {uid}"


def _token(tokens: Iterable[Token], text: str) -> Token | None:
    """Compares with all of them, always, so that the time tells nothing."""
    digest = sha256(text.encode(errors="surrogateescape")).hexdigest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.sha256, digest):
            found = token
    return found
