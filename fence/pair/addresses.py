"""Whose message is it: names become addresses, and addresses are compared as numbers, not as text."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAPPED = (
    b"\0" * 10 + b"\xff\xff"
)  # ::ffff:0:0/96, an IPv4 address as an IPv6 socket shows it (RFC 4291, 2.5.5.2)


class Address(NamedTuple):
    """An address in network order, 4 or 16 bytes; ``scope`` is the interface of a link-local one, else 0."""

    packed: bytes
    scope: int = 0

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6

    def sockaddr(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """What ``sendto`` takes."""
        text = socket.inet_ntop(self.family, self.packed)
        return (text, port) if self.family == socket.AF_INET else (text, port, 0, self.scope)

    def __str__(self) -> str:
        text = socket.inet_ntop(self.family, self.packed)
        return f"{text}%{self.scope}" if self.scope else text


def of_sockaddr(sockaddr: tuple[Any, ...]) -> Address:
    """The address in what ``recvfrom`` or ``getaddrinfo`` gave, an IPv4 one mapped into IPv6 as IPv4."""
    text = str(sockaddr[0]).partition("%")[0]
    if ":" not in text:
        return Address(socket.inet_pton(socket.AF_INET, text))
    packed = socket.inet_pton(socket.AF_INET6, text)
    if packed.startswith(MAPPED):
        return Address(packed[12:])
    return Address(packed, int(sockaddr[3]) if len(sockaddr) > 3 else 0)


def resolve(name: str, family: int = 0) -> tuple[Address, ...]:
    """Every address of ``name`` in ``family`` (0: all), each once, in the resolver's order.

    Raises:
        OSError: there is none.
    """
    if "\0" in name:
        raise OSError("Name or service not known")
    # As bytes: for a str Python loads its IDNA codec first (5 ms), which has errors of its own.
    host = name.encode(errors="surrogateescape")
    found = socket.getaddrinfo(host, None, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    return tuple(dict.fromkeys(of_sockaddr(entry[4]) for entry in found))


def is_one_of(sender: Address, known: Iterable[Address]) -> bool:
    """Whether a message from ``sender`` comes from one of ``known``; without a scope it means any link."""
    return any(sender == address or sender._replace(scope=0) == address for address in known)
