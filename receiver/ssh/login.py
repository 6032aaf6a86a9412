"""One connection: who it is, and the sessions it may open."""

from __future__ import annotations

import time
from typing import Any, Final

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate

from receiver.events import LoginAccepted, LoginRefused
from receiver.hosts.identity import Denied, Identity, normalised_peer
from receiver.ssh.door import Door
from receiver.ssh.session import Session
from receiver.wire.refused import printable

PASSWORD_TRIES: Final = 3  # of one connection


class Login(asyncssh.SSHServer):
    """Lets in enrolled keys, certificates of a named CA, and tokens; everything else is refused."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._peer = ""
        self._user = ""
        self._identity: Identity | None = None
        self._tries = 0
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        peer: Any = conn.get_extra_info("peername")
        self._peer = normalised_peer(peer[0] if peer else "")
        if len(self._door.connections) >= self._door.settings.max_connections:
            self._refused("-", "too many connections at once (max_connections)")
            conn.abort()
            return
        self._door.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        # SUSE's ssh:// URLs with a password arrive as `user:password`: what follows the colon is not logged.
        self._user = printable(username.partition(":")[0], 64)
        return True

    def auth_completed(self) -> None:
        identity = self._identity
        if identity is not None:
            self._door.bus.tell(LoginAccepted(identity.name, self._peer, identity.how, identity.detail))

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        found = await self._door.off_loop(lambda: self._door.hosts.find(key, self._peer))
        return self._decided(found, "key")

    def validate_certificate(self, certificate: SSHOpenSSHCertificate) -> bool:
        """A certificate that is valid in itself: may its principal come in?"""
        authorities = self._door.authorities
        if authorities is None:
            return False
        return self._decided(authorities.decide(certificate, self._peer), "certificate")

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        now = time.monotonic()
        self._tries += 1
        wait = self._door.passwords.retry_after_seconds(self._peer, now)
        if wait > 0 or self._tries > PASSWORD_TRIES:
            self._refused("token", f"too many wrong passwords, again in {wait:.0f} s")
            return False
        found = await self._door.off_loop(lambda: self._door.tokens.check(password, time.time()))
        if isinstance(found, Denied):
            self._door.passwords.failed(self._peer, now)
            self._refused("token", found.reason)
            return False
        self._identity = Identity(
            name=found.host or self._peer,
            host=found.host or "",
            how="token",
            peer=self._peer,
            detail=found.id,
        )
        return True

    def session_requested(self) -> Session | bool:
        if self._identity is None:
            return False
        return Session(self._door, self._identity)

    def _decided(self, found: Identity | Denied, how: str) -> bool:
        if isinstance(found, Denied):
            self._refused(how, found.reason)
            return False
        self._identity = found
        return True

    def _refused(self, how: str, reason: str) -> None:
        self._door.bus.tell(LoginRefused(self._peer, self._user, how, reason))
