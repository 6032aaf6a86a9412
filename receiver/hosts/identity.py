"""Who a connection is, once it has proved it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from receiver.failure import Failure

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """`name` is the name space of its dumps: the host, or ``HOST@PEER`` behind a shared key."""

    name: str
    host: str
    how: Literal["key", "certificate", "token"]
    peer: str
    detail: str  # fingerprint, certificate's key id, or token's id


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not; for the log, never for the client."""

    reason: str


class BadName(Failure):
    """No name that a host may have."""

    exit_code = 64  # EX_USAGE


def check_host_name(name: str) -> str:
    """A host's name: letters, digits, ``._-``, at most 64, or an IP address. It names a directory, too.

    Raises:
        BadName: anything else.
    """
    if _NAME.fullmatch(name):
        return name
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        raise BadName(
            f"{name!r} is no host name: letters, digits, '.', '_' and '-', at most 64, the first no sign"
        ) from None


def normalised_peer(address: str) -> str:
    """A peer's address in one spelling: IPv4 behind IPv6 as IPv4, no zone."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(found)
