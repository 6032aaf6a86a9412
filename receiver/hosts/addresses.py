"""Where a key may be used from: IP addresses and networks. Sans-IO."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from receiver.failure import Failure


class BadAddress(Failure):
    """Neither an IP address nor a network."""

    exit_code = 65  # EX_DATAERR


def check_address(text: str) -> str:
    """An address or a network (``10.0.0.0/24``, ``2001:db8::/64``) in one spelling.

    Raises:
        BadAddress: anything else; host names, too: DNS must not decide who comes in.
    """
    try:
        if "/" not in text:
            return str(_plain(ipaddress.ip_address(text)))
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadAddress(f"{text!r} is neither an IP address nor a network like 10.0.0.0/24") from None
    if network.network_address != ipaddress.ip_interface(text).ip:
        raise BadAddress(f"{text!r} is an address inside a network; the network is {network}")
    return str(network)


def comes_from(peer: str, places: Iterable[str]) -> bool:
    """Whether `peer`, an address, is one of `places` or in one of their networks."""
    try:
        found = _plain(ipaddress.ip_address(peer))
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(place) for place in places)


def _plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """IPv4 behind IPv6 is IPv4: a dual-stack socket shows the one as the other."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
