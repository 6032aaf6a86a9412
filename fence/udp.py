"""The UDP sockets: what the kernel does for us before a datagram is read.

Sources: socket(7), ip(7), ipv6(7), linux/filter.h; net/ipv4/udp.c of Linux 6.18 for what counts as a drop.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fence.failure import Failure
from fence.message import BIG, DRILL, LITTLE

# Not in the socket module: asm-generic/socket.h, linux/in.h, linux/in6.h.
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
SO_LOCK_FILTER = 44
SO_MEMINFO = 55
IP_PKTINFO = 8
IP_RECVTTL = 12

UDP_HEADER = 8  # bytes; a filter on a UDP socket sees it before the data
ACCEPT = 0xFFFF  # bytes to let through: all
MEMINFO = struct.Struct("=9I")
DROPS = 8  # SK_MEMINFO_DROPS
LOAD_LENGTH, LOAD_WORD, EQUAL, AT_LEAST, RETURN = 0x80, 0x20, 0x15, 0x35, 0x06
MAGICS = tuple(int.from_bytes(header[:4], "big") for header in (LITTLE, BIG, DRILL))


class ListenError(Failure):
    """An address cannot be had."""

    exit_code = 71  # EX_OSERR


@dataclass(frozen=True, slots=True)
class Where:
    """An address to listen on; ``host`` is an address, not a name."""

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """By how the address is written."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def open_socket(where: Where, buffer_bytes: int) -> socket.socket:
    """A bound, non-blocking socket with all that `fence.listen` counts on.

    Raises:
        ListenError: the address is taken, is not ours, or is not there.
    """
    sock = socket.socket(where.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        _filter(sock)  # before bind: nothing gets past it
        _buffer(sock, buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        if where.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has its own socket
        sock.bind(_bindable(where))
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on UDP {where}: {error.strerror or error}; "
            f"see `ss -ulpn sport = {where.port}`, or say another --listen ADDR:PORT"
        ) from None
    return sock


def bound(sock: socket.socket) -> Where:
    """Where a socket listens."""
    host, port = sock.getsockname()[:2]
    return Where(host, port)


def want_hints(sock: socket.socket, wanted: bool) -> None:
    """Have TTL and arrival interface given with each datagram, or not: it costs time."""
    value = int(wanted)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, value)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, value)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, value)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, value)


def buffer_bytes(sock: socket.socket) -> int:
    """The size of the receive buffer; the kernel counts its own overhead in, 832 bytes a datagram."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def refused(sock: socket.socket) -> int | None:
    """How many datagrams the kernel took off this socket: junk by the filter, and lost for want of room.

    SO_RXQ_OVFL tells the same number (see `told`), but only with the next datagram. Wraps at 2**32; None
    where the kernel is older than 4.12.
    """
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    except OSError:
        return None
    return int(MEMINFO.unpack(info)[DROPS]) if len(info) == MEMINFO.size else None


def told(ancillary: list[tuple[int, int, bytes]], before: int) -> int:
    """The number of `refused` as it comes with a datagram; ``before`` where it does not: none is lost."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
            return int.from_bytes(data[:4], sys.byteorder)
    return before


def overflows(family: socket.AddressFamily | int) -> int | None:
    """How many datagrams all UDP sockets of this network namespace lost for want of room."""
    with suppress(OSError, ValueError, LookupError):
        if family == socket.AF_INET6:
            lines = Path("/proc/net/snmp6").read_text().splitlines()
            return int(next(line.split()[1] for line in lines if line.startswith("Udp6RcvbufErrors")))
        lines = Path("/proc/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("Udp:"))
        return int(values[names.index("RcvbufErrors")])
    return None


def filter_program() -> list[tuple[int, int, int, int]]:
    """Classic BPF (code, jump if true, if false, k): a header's length at least, and one of the magics."""
    count = len(MAGICS)
    steps = [(LOAD_LENGTH, 0, 0, 0), (AT_LEAST, 0, count + 1, UDP_HEADER + len(LITTLE))]
    steps.append((LOAD_WORD, 0, 0, UDP_HEADER))
    steps += [(EQUAL, count - place, 0, magic) for place, magic in enumerate(MAGICS)]
    return [*steps, (RETURN, 0, 0, 0), (RETURN, 0, 0, ACCEPT)]


def _filter(sock: socket.socket) -> None:
    steps = filter_program()
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(code))
    )
    sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)


def _buffer(sock: socket.socket, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)  # past rmem_max, with CAP_NET_ADMIN
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _bindable(where: Where) -> tuple[object, ...]:
    """With the zone of a link-local address (fe80::1%eth0), which bind takes as a number."""
    if where.family == socket.AF_INET6:
        host, _, zone = where.host.partition("%")
        return (host, where.port, 0, socket.if_nametoindex(zone) if zone else 0)
    return (where.host, where.port)
