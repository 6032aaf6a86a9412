"""Which user of this machine a loopback connection comes from, as the kernel knows it.

Loopback alone proves little: every user and every service of a machine can connect to it. The
kernel knows the owner of the other end's socket: root and the receiver's own user could read
every dump anyhow, so no login is asked of them.

Source: sock_diag(7); <linux/inet_diag.h>, struct inet_diag_req_v2 and inet_diag_msg.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from typing import Final

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST: Final = struct.Struct("=BBBxI")
_ANY: Final = 0xFFFFFFFF
_UID_AT: Final = 4 + 48 + 12  # in struct inet_diag_msg: behind states, socket id, expires and queues

Address = tuple[str, int]


def is_loopback(address: str) -> bool:
    """Whether an IP address never leaves this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_trusted(client: Address, server: Address) -> bool:
    """Whether the connection from `client` is root's, or our own user's."""
    return is_loopback(client[0]) and owner(client, server) in {0, os.geteuid()}


def owner(client: Address, server: Address) -> int | None:
    """The user id behind the connection's other end; None where the kernel does not say. Does not wait."""
    try:
        ends = [ipaddress.ip_address(end[0]) for end in (client, server)]
    except ValueError:
        return None
    family = socket.AF_INET6 if ends[0].version == 6 else socket.AF_INET
    source, target = (end.packed.ljust(16, b"\0") for end in ends)
    request = (
        _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ANY)
        + struct.pack("!HH", client[1], server[1])
        + source
        + target
        + struct.pack("=III", 0, _ANY, _ANY)  # any interface, no cookie
    )
    header = _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
            sock.sendto(header + request, (0, 0))
            answer = sock.recv(8192, socket.MSG_DONTWAIT)  # the kernel answers within the call
        _, kind, *_ = _HEADER.unpack_from(answer)
        if kind != SOCK_DIAG_BY_FAMILY:
            return None
        (uid,) = struct.unpack_from("=I", answer, _HEADER.size + _UID_AT)
    except (OSError, struct.error):
        return None
    return int(uid)
