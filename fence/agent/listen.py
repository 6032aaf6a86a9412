"""Without a daemon: hold the UDP port for as long as the question lasts, and hear the node itself.

What the C agent does (fence-agents 4.12.1), but a datagram is judged by what it holds and no more, a name
means all of its addresses in both families, and a taken port is said in one line rather than by an abort.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fence.agent import addresses
from fence.agent.holder import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fence.agent.addresses import Address
    from fence.agent.say import Voice

MAGIC = 0x1B302A40  # agents/kdump/message.h; the layout is docs/fence-protocol.md
VERSION = 1
DATAGRAM_LIMIT = 2048  # bytes read of one; only the first eight matter here
BATCH = 256  # datagrams taken before the clock is looked at again
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module does not have it
RECEIVE_BUFFER = 4 << 20  # bytes; the kernel's default holds 256 datagrams


class PortTaken(Exception):
    """Another program holds the UDP port; the text says which."""


def resolve_all(names: Sequence[str], family: int, voice: Voice) -> tuple[Address, ...]:
    """Every address of every name; a name without one is said and passed over."""
    found: dict[Address, None] = {}
    for name in names:
        try:
            found.update(dict.fromkeys(addresses.resolve(name, family)))
        except OSError as error:
            voice.error(f"getaddrinfo ({error.strerror or error})", 2)
            voice.error(f"failed to get node '{name}'")
    return tuple(found)


def open_sockets(families: Iterable[int], port: int) -> list[socket.socket]:
    """A bound socket for each family; the caller closes them.

    Raises:
        PortTaken: for at least one of them; none is held then.
        OSError: the family or the port cannot be had at all.
    """
    sockets: list[socket.socket] = []
    try:
        for family in families:
            opened = socket.socket(family, socket.SOCK_DGRAM)
            sockets.append(opened)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            with suppress(OSError):  # only root may
                opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            opened.bind(("", port))
    except OSError as error:
        close_all(sockets)
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(holder_of(port) or "another program") from error
        raise
    return sockets


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Give the port back."""
    for opened in sockets:
        opened.close()


def flaw_untrusted(datagram: bytes) -> str | None:
    """What keeps a datagram from being a fence_kdump message of version 1; None if it is one, in either byte order."""
    if len(datagram) < 8:
        return f"message of {len(datagram)} bytes is too short"
    for order in ("little", "big"):
        if int.from_bytes(datagram[:4], order) == MAGIC:
            version = int.from_bytes(datagram[4:8], order)
            return None if version == VERSION else f"invalid message version '0x{version:X}'"
    return f"invalid magic number '0x{int.from_bytes(datagram[:4], 'little'):X}'"


def hear(
    sockets: Sequence[socket.socket], known: Sequence[Address], voice: Voice, deadline: float
) -> Address | None:
    """Wait until ``deadline`` (monotonic seconds) for a valid message from one of ``known``; who sent it, or None."""
    poll = select.poll()
    by_descriptor = {opened.fileno(): opened for opened in sockets}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            for _ in range(BATCH):
                try:
                    datagram, origin = by_descriptor[descriptor].recvfrom(DATAGRAM_LIMIT, socket.MSG_DONTWAIT)
                except OSError as error:  # nothing more, or nothing readable after all (a bad checksum)
                    if not isinstance(error, BlockingIOError):
                        voice.error(f"recvfrom ({error.strerror})", 2)
                    break
                flaw, sender = flaw_untrusted(datagram), addresses.of_sockaddr(origin)
                if flaw:
                    voice.debug(flaw, 1)
                elif not addresses.is_one_of(sender, known):
                    voice.debug(f"discard message from '{sender}'", 1)
                else:
                    return sender
    return None
