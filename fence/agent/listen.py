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
from typing import TYPE_CHECKING, NamedTuple

from fence.agent import addresses, header
from fence.agent.holder import holder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fence.agent.addresses import Address
    from fence.agent.say import Voice

DATAGRAM_LIMIT = 2048  # bytes read of one; the longest that any sender sends is 1400
BATCH = 256  # datagrams taken before the clock is looked at again
RECEIVE_BUFFER = 4 << 20  # bytes; the kernel's default holds 256 datagrams


class PortTaken(Exception):
    """Another program holds the UDP port."""


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


def open_sockets(families: Sequence[int], port: int) -> list[socket.socket]:
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
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE, RECEIVE_BUFFER)
            opened.bind(("", port))
    except OSError as error:
        for opened in sockets:
            opened.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(holder_of(port) or "another program") from error
        raise
    return sockets
