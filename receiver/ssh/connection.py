"""asyncssh's server connection with five ways of its own.

asyncssh.listen() makes plain SSHServerConnections; these are made by our own factory
(receiver.ssh.listen) from the same arguments.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncssh
from asyncssh.constants import MSG_KEXINIT
from asyncssh.packet import SSHPacket

from receiver.ssh.algorithms import Algorithms, ciphers, names_ctr_first, offered
from receiver.ssh.lane import Lane
from receiver.ssh.login import Login

# asyncssh 2.24 copies what is left of its input buffer twice for each packet, so a read of
# 256 KiB with packets of 16 KiB costs sixteen times its size in copies: it is fed in pieces.
PIECE: Final = 32 << 10  # bytes, one full packet of a stock client
WAIT_SECONDS: Final = 2.0  # for a client's list of algorithms before ours goes out unasked
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
        self._lane = Lane(self)
        self._patient = True  # nothing was sent yet
        self._unasked: asyncio.TimerHandle | None = None  # until our list of algorithms goes out all the same
        super().__init__(loop, options, None, None)
        self._algorithms = algorithms

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Bytes from the socket."""
        at, view = 0, memoryview(data)
        while at < len(view) and self._transport is not None:
            piece = PIECE
            if self._lane.is_open():
                owed = self._lane.owed()
                if owed == 0:
                    at = self._by_lane(view, at)
                    owed = self._recv_blocksize  # what the lane leaves begins with a header
                piece = PIECE if owed is None else owed
            super().data_received(bytes(view[at : at + piece]), datatype)
            at += piece

    def _by_lane(self, view: memoryview, at: int) -> int:
        """The place behind what the lane took. Errors end the connection as asyncssh's own way does."""
        self._reset_keepalive_timer()
        try:
            return self._lane.take(view, at)
        except asyncssh.DisconnectError as error:
            self._send_disconnect(error.code, error.reason, error.lang)
            self._force_close(error)
        except Exception:
            self.internal_error()
        return len(view)

    def _reset_keepalive_timer(self) -> None:
        """Data came. asyncssh makes a new timer for every packet, a tenth of the loop's work."""
        now = self._loop.time()
        if self._auth_complete and now - self._heard >= HEARD_SECONDS:
            self._heard = now
            super()._reset_keepalive_timer()

    def _send_kexinit(self) -> None:
        """Our list of algorithms. A client whose order is not ours may say its own list first.

        asyncssh answers a list that comes before it has sent one; the wait costs one way to the client.
        """
        if self._patient and names_ctr_first(self._client_version):
            self._unasked = self._loop.call_later(WAIT_SECONDS, self._send_unasked)
        else:
            super()._send_kexinit()
        self._patient = False

    def _send_unasked(self) -> None:
        self._unasked = None
        if self._transport is not None:
            super()._send_kexinit()

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """A packet for the connection itself. The client's list of algorithms narrows ours that waits."""
        if pkttype == MSG_KEXINIT and self._unasked is not None:
            self._unasked.cancel()
            self._unasked = None
            self._kexinit_sent = False  # asyncssh sends it now
            self._enc_algs = offered(self._enc_algs, ciphers(packet.get_full_payload()))
        return super().process_packet(pkttype, pktid, packet)

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
