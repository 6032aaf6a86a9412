"""Who a connection is, once it has proved it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from receiver.failure import Failure

UNKNOWN_PEER = "unknown"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NTH_AT_ADDRESS = re.compile(r"(.+)-([2-9]|[1-9][0-9])", re.ASCII)  # see nth_at_address


@dataclass(frozen=True, slots=True)
class Identity:
    """`name` is the name space of its dumps: the host, or ``HOST@PEER`` behind a shared key."""

    name: str
    host: str
    how: Literal["key", "certificate", "token"]
    peer: str
    detail: str  # fingerprint, certificate's key id and signer, or token's id


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not; for the log, never for the client."""

    reason: str


class BadName(Failure):
    """No name that a host may have."""

    exit_code = 65  # EX_DATAERR


def check_host_name(name: str) -> str:
    """A host's name: letters, digits, ``._-``, at most 64, or an IP address. It names a directory, too.

    An address comes back in its one spelling, with or without the ``-2`` of `nth_at_address`.

    Raises:
        BadName: anything else.
    """
    if _NAME.fullmatch(name):
        return name
    nth = _NTH_AT_ADDRESS.fullmatch(name)
    address, suffix = (nth[1], f"-{nth[2]}") if nth else (name, "")
    try:
        if "%" not in address:
            return str(ipaddress.ip_address(address)) + suffix
    except ValueError:
        pass
    raise BadName(
        f"{name[:80]!r} is no host name: letters, digits, '.', '_' and '-' (at most 64, the first a letter "
        "or digit), or an IP address"
    )


def nth_at_address(address: str, n: int) -> str:
    """The name of the `n`-th host (1 to 99) that came from `address`: ``10.0.0.7``, ``10.0.0.7-2``, …"""
    return address if n == 1 else f"{address}-{n}"


def normalised_peer(address: str) -> str:
    """A peer's address in one spelling: IPv4 behind IPv6 as IPv4, no zone; else ``unknown``."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN_PEER
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(found)
