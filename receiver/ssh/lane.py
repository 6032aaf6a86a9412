"""A short way for what an upload is made of: data packets under AES-GCM.

asyncssh 2.24 copies a packet nine times between the socket and the session and sets up the
cipher anew for each. Here a packet is opened where it lies in what the socket gave, once.
Only channel data in an ordinary state is taken; every other packet, and every packet that
is in any way wrong, is left untouched for asyncssh, which then says what it thinks of it.

Opening a packet changes nothing in the connection, so "left untouched" is exact: the
nonce and the sequence number move on only with what was taken. An asyncssh that is not built
as it is known here goes its own way with everything.
RFC 4254, 5.2 (channel data); RFC 5647, 7 (AES-GCM in SSH); RFC 4253, 6 (the packet).
"""

from __future__ import annotations

from typing import Any, Final

from asyncssh.channel import SSHChannel
from asyncssh.encryption import GCMEncryption
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LENGTH: Final = 4  # bytes of a packet's length, in clear under AES-GCM
TAG: Final = 16
DATA: Final = 94  # SSH_MSG_CHANNEL_DATA
# what is read and moved on here, of a connection, its encryption's cipher, and a channel
_CONNECTION: Final = (
    *("_auth_complete", "_auth_final", "_channels", "_decompressor", "_inpbuf", "_max_recv_pktlen"),
    *("_pktlen", "_recv_blocksize", "_recv_handler", "_recv_macsize", "_recv_packet", "_recv_pkthdr"),
    "_recv_seq",
)
_CIPHER: Final = ("_iv", "_key", "_update_iv")
# of an opened packet: padding length, message number, channel, size of the data
_CHANNEL, _SIZE, _BODY = slice(2, 6), slice(6, 10), 10


class Lane:
    """The short way of one connection; `connection` is asyncssh's, whose state it reads and moves on."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._encryption: object = None  # whose key `_cipher` has
        self._cipher: AESGCM | None = None

    def is_open(self) -> bool:
        """Whether data packets may come now, under a cipher that is understood here."""
        connection = self._connection
        encryption: Any = getattr(connection, "_recv_encryption", None)
        if encryption is not self._encryption:
            self._encryption = encryption
            self._cipher = AESGCM(encryption._cipher._key) if _fits(connection, encryption) else None
        return self._cipher is not None and connection._auth_complete and connection._decompressor is None

    def owed(self) -> int | None:
        """Bytes until the packet asyncssh reads ends, or its length is known; None while it waits."""
        connection = self._connection
        held, handler = len(connection._inpbuf), connection._recv_handler
        if handler == connection._recv_packet:
            return int(
                LENGTH + connection._pktlen + connection._recv_macsize - connection._recv_blocksize - held
            )
        if handler == connection._recv_pkthdr:
            return int(connection._recv_blocksize - held) if held else 0
        return None

    def take(self, data: memoryview, start: int) -> int:
        """Take the data packets at `start`, as many as are whole; the place behind the last one.

        asyncssh must be between two packets (`owed` is 0) and the lane open.
        Raises what the session raises that gets the data.
        """
        connection, cipher = self._connection, self._cipher
        if cipher is None:
            return start
        state = connection._recv_encryption._cipher
        channels, largest, end = connection._channels, connection._max_recv_pktlen, len(data)
        while start + LENGTH <= end and connection._transport is not None:
            body = start + LENGTH
            length = int.from_bytes(data[start:body], "big")
            after = body + length + TAG
            if length > largest or after > end:
                break
            try:
                opened = cipher.decrypt(state._iv, data[body:after], data[start:body])
            except (InvalidTag, ValueError):
                break
            if len(opened) <= _BODY or opened[1] != DATA:
                break
            channel = channels.get(int.from_bytes(opened[_CHANNEL], "big"))
            size = int.from_bytes(opened[_SIZE], "big")
            if (
                channel is None
                or getattr(channel, "_recv_state", None) != "open"
                or not 0 < size <= getattr(channel, "_recv_window", 0)
                or _BODY + size + opened[0] != length
            ):
                break
            state._update_iv()
            connection._recv_seq = (connection._recv_seq + 1) & 0xFFFFFFFF
            connection._auth_final = True
            channel._accept_data(memoryview(opened)[_BODY : _BODY + size])
            start = after
            if connection._recv_encryption is not self._encryption or not self._between_packets():
                break
        return start

    def _between_packets(self) -> bool:
        connection = self._connection
        return not connection._inpbuf and connection._recv_handler == connection._recv_pkthdr


def _fits(connection: Any, encryption: Any) -> bool:
    """Whether this is AES-GCM, and asyncssh is built as this module knows it."""
    cipher = getattr(encryption, "_cipher", None)
    return (
        type(encryption) is GCMEncryption
        and hasattr(SSHChannel, "_accept_data")
        and all(hasattr(connection, name) for name in _CONNECTION)
        and all(hasattr(cipher, name) for name in _CIPHER)
    )
