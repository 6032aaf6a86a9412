"""One connection: who it is, and the sessions it may open."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import asyncssh

from receiver.events import LoginAccepted, LoginRefused
from receiver.hosts.certkeys import is_certificate
from receiver.hosts.gate import judge
from receiver.hosts.identity import Denied, Identity, normalised_peer
from receiver.ssh.door import Door
from receiver.ssh.session import Session
from receiver.wire.refused import printable

PASSWORD_TRIES: Final = 3  # of one connection
SESSIONS: Final = 10  # open at once on one connection, as many as sshd allows
KEY_TRIES: Final = 40  # of one connection; a client asks twice for each key, and agents hold many


class Login(asyncssh.SSHServer):
    """Lets in enrolled keys, certificates of a named CA, and tokens; everything else is refused."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._peer = ""
        self._user = ""
        self._identity: Identity | None = None
        self._candidate: Identity | None = None  # whose the key is that is being proved
        self._tries = 0
        self._keys = 0
        self._sessions = 0
        self._busy = 0  # of them have said what they want
        self._resting: asyncio.TimerHandle | None = None  # while nothing is asked for
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        peer: Any = conn.get_extra_info("peername")
        self._peer = normalised_peer(peer[0] if peer else "")
        if len(self._door.connections) >= self._door.settings.max_connections:
            self._refused("-", "too many connections at once (max_connections)")
            conn.abort()
        elif not self._door.come(conn, self._peer):
            self._refused("-", "too many connections at once from there (half of max_connections)")
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.gone(self._connection, self._peer)
        self._stir()

    def begin_auth(self, username: str) -> bool:
        # SUSE's ssh:// URLs with a password arrive as `user:password`: what follows the colon is not logged.
        self._user = printable(username.partition(":")[0], 64)
        return True

    def auth_completed(self) -> None:
        identity = self._identity
        if identity is not None:
            self._door.bus.tell(LoginAccepted(identity.name, self._peer, identity.how, identity.detail))
        self._rest()

    def public_key_auth_supported(self) -> bool:
        return True

    async def show(self, blob: bytes) -> bytes | None:
        """The client shows a key or a certificate: the plain key that it has to prove, or None."""
        self._candidate = None
        self._keys += 1
        how = "certificate" if is_certificate(blob) else "key"
        if self._keys > KEY_TRIES:
            if self._keys == KEY_TRIES + 1:
                self._refused(how, f"more than {KEY_TRIES} tries with keys in one connection")
            return None
        door, peer = self._door, self._peer
        shown = await door.off_loop(lambda: judge(blob, peer, time.time(), door.hosts, door.authorities))
        if isinstance(shown, Denied):
            self._refused(how, shown.reason)
            return None
        self._candidate = shown.identity
        return shown.key.blob

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """asyncssh asks this between `show` and `proved`."""
        return self._candidate is not None

    def proved(self) -> None:
        """The client signed with the key that it showed last."""
        self._identity = self._candidate

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        now = time.monotonic()
        self._tries += 1
        if self._tries > PASSWORD_TRIES:
            if self._tries == PASSWORD_TRIES + 1:
                self._refused("token", f"more than {PASSWORD_TRIES} passwords in one connection")
            return False
        if not password:
            # ssh without a terminal gives these when its key is refused. They guess nothing, and shall
            # not keep the host's `propagate` waiting.
            self._refused("token", "an empty password")
            return False
        wait = self._door.passwords.attempt(self._peer, now)
        if wait > 0:
            self._refused("token", f"too many wrong passwords, again in {wait:.0f} s")
            return False
        found = await self._door.off_loop(lambda: self._door.tokens.check(password, time.time()))
        if isinstance(found, Denied):
            self._refused("token", found.reason)
            return False
        self._door.passwords.right(self._peer, now)
        self._identity = Identity(
            name=found.host or self._peer,
            host=found.host or "",
            how="token",
            peer=self._peer,
            detail=found.id,
        )
        return True

    def session_requested(self) -> Session | bool:
        if self._identity is None or self._sessions >= SESSIONS:
            return False
        self._sessions += 1
        return Session(self._door, self._identity, started=self._session_started, ended=self._session_ended)

    def _session_started(self) -> None:
        self._busy += 1
        self._stir()

    def _session_ended(self, was_started: bool) -> None:
        self._sessions -= 1
        self._busy -= was_started
        if was_started and not self._busy:
            self._rest()

    def _rest(self) -> None:
        """Nothing is being done for the client: it may not stay for ever."""
        self._stir()
        loop = asyncio.get_running_loop()
        self._resting = loop.call_later(self._door.settings.silence_seconds, self._leave)

    def _stir(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _leave(self) -> None:
        self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "nothing was asked for")

    def _refused(self, how: str, reason: str) -> None:
        self._door.bus.tell(LoginRefused(self._peer, self._user, how, reason))
