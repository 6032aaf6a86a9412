"""asyncssh's server connection with three ways of its own.

asyncssh.listen() makes plain SSHServerConnections; these are made by our own factory
(receiver.ssh.listen) from the same arguments.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncssh

from receiver.ssh.algorithms import Algorithms
from receiver.ssh.login import Login

# asyncssh 2.24 copies what is left of its input buffer twice for each packet, so a read of
# 256 KiB with packets of 16 KiB costs sixteen times its size in copies: it is fed in pieces.
PIECE: Final = 32 << 10  # bytes, one full packet of a stock client
HEARD_SECONDS: Final = 1.0  # between two resets of the timer that asks a silent client whether it lives


class Connection(asyncssh.SSHServerConnection):
    """One client's connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        algorithms: Algorithms,
    ) -> None:
        self._heard = -HEARD_SECONDS
        super().__init__(loop, options, None, None)
        self._algorithms = algorithms

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Bytes from the socket."""
        if len(data) <= PIECE:
            super().data_received(data, datatype)
            return
        for at in range(0, len(data), PIECE):
            super().data_received(data[at : at + PIECE], datatype)

    def _reset_keepalive_timer(self) -> None:
        """Data came. asyncssh makes a new timer for every packet, a tenth of the loop's work."""
        now = self._loop.time()
        if self._auth_complete and now - self._heard >= HEARD_SECONDS:
            self._heard = now
            super()._reset_keepalive_timer()

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """A user key's or certificate's request; RSA with SHA-1 only where the operator lets it in.

        `msg` is empty while the client only asks whether the key would do. See receiver.hosts.gate.
        """
        if msg and not self._algorithms.sha1_signatures and _signature_algorithm(signature) == b"ssh-rsa":
            return False
        owner = self.get_owner()
        if not isinstance(owner, Login):
            return False
        key = await owner.show(key_data)
        if key is None or not await super().validate_public_key(username, key, msg, signature):
            return False
        if msg:
            owner.proved()
        return True


def _signature_algorithm(signature: bytes) -> bytes:
    """The algorithm's name, a string that a signature begins with (RFC 4253, 6.6)."""
    size = int.from_bytes(signature[:4], "big")
    return signature[4 : 4 + size]
