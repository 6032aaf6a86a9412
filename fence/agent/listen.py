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

from fence.agent.holder import holder_of
from fence.agent.options import names
from fence.pair import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fence.agent.options import Request
    from fence.pair.addresses import Address
    from fence.pair.say import Voice

IPV4 = socket.AF_INET
MAGIC = 0x1B302A40  # agents/kdump/message.h; the layout is docs/fence-protocol.md
VERSION = 1
DATAGRAM_LIMIT = 2048  # bytes read of one; only the first eight matter here
BATCH = 256  # datagrams taken before the clock is looked at again
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module does not have it
RECEIVE_BUFFER = 4 << 20  # bytes; the kernel's default holds 256 datagrams


class PortTaken(Exception):
    """Another program holds the UDP port; the text says which, ``by_agent`` whether it is one like us."""

    def __init__(self, port: int) -> None:
        holder = holder_of(port) or "another program"
        super().__init__(f"bind (Address already in use): UDP port {port} is held by {holder}")
        self.by_agent = holder.startswith("fence_")


def addresses_of(request: Request, voice: Voice) -> tuple[Address, ...]:
    """Every address of the node; a name without one is said and passed over."""
    found: dict[Address, None] = {}
    for wanted in request.wanted:
        for name in names(wanted):
            try:
                found.update(dict.fromkeys(addresses.resolve(name, request.family)))
            except OSError as error:
                voice.error(f"getaddrinfo ({error.strerror or error})", 2)
                voice.error(f"failed to get node '{name}'")
        if found:
            break
    return tuple(found)


def open_sockets(families: Iterable[int], port: int) -> list[socket.socket]:
    """A bound socket for each family; the caller closes them.

    Raises:
        PortTaken: for at least one of them; none is held then.
        OSError: the port cannot be had in any of them.
    """
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family in families:
        try:
            sockets.append(_bound(family, port))
        except OSError as error:
            failure = error
            if error.errno == errno.EADDRINUSE:
                close_all(sockets)
                raise PortTaken(port) from error
    if failure and not sockets:
        raise failure  # a host without IPv6 still hears a node's IPv4 addresses
    return sockets


def _bound(family: int, port: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with suppress(OSError):  # only root may
            opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        opened.bind(("", port))
    except OSError:
        opened.close()
        raise
    return opened


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Give the port back."""
    for opened in sockets:
        opened.close()


def flaw_untrusted(datagram: bytes) -> str | None:
    """What keeps a datagram from being a fence_kdump message of version 1 in either byte order, or None."""
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
    """Wait for a valid message from one of ``known``: its sender, None at ``deadline`` (monotonic)."""
    poll = select.poll()
    by_descriptor = {opened.fileno(): opened for opened in sockets}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            for datagram, sender in _waiting(by_descriptor[descriptor], voice):
                flaw = flaw_untrusted(datagram)
                if flaw:
                    voice.debug(flaw, 1)
                elif not addresses.is_one_of(sender, known):
                    voice.debug(f"discard message from '{sender}'", 1)
                else:
                    return sender
    return None


def _waiting(opened: socket.socket, voice: Voice) -> Iterator[tuple[bytes, Address]]:
    """The datagrams that are there now, at most BATCH of them."""
    for _ in range(BATCH):
        try:
            datagram, origin = opened.recvfrom(DATAGRAM_LIMIT, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            voice.error(f"recvfrom ({error.strerror})", 2)
            return
        yield datagram, addresses.of_sockaddr(origin)
