"""Whose address is it: exact ones first, then the smallest network. Sans-IO."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Set
from ipaddress import IPv4Network, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
NOBODY: Set[str] = frozenset()


def canonical(text: str) -> str | None:
    """An address as the kernel writes it: no zone, IPv4 not inside IPv6; None where it is none."""
    bare = text.partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, bare)
        except (OSError, UnicodeError, ValueError):
            continue
        if packed.startswith(b"\0" * 10 + b"\xff\xff") and len(packed) == 16:
            return socket.inet_ntop(socket.AF_INET, packed[12:])
        return socket.inet_ntop(family, packed)
    return None


class Addresses:
    """Owners by address. An address of two owners is nobody's: only a signature tells such nodes apart."""

    def __init__(self) -> None:
        self._exact: dict[str, set[str]] = {}
        self._networks: dict[
            tuple[int, int], dict[int, set[str]]
        ] = {}  # version, prefix length ▸ network ▸ owners
        self._of: dict[str, tuple[tuple[str, ...], tuple[Network, ...]]] = {}

    def put(self, owner: str, addresses: Iterable[str], networks: Iterable[Network] = ()) -> None:
        """These, all canonical, and no others belong to ``owner``."""
        self.drop(owner)
        held = self._of[owner] = (tuple(addresses), tuple(networks))
        for address in held[0]:
            self._exact.setdefault(address, set()).add(owner)
        for network in held[1]:
            group = self._networks.setdefault((network.version, network.prefixlen), {})
            group.setdefault(int(network.network_address), set()).add(owner)

    def drop(self, owner: str) -> None:
        """Nothing belongs to ``owner`` any more."""
        addresses, networks = self._of.pop(owner, ((), ()))
        for address in addresses:
            self._exact[address].discard(owner)
            if not self._exact[address]:
                del self._exact[address]
        for network in networks:
            group = self._networks[network.version, network.prefixlen]
            owners = group[int(network.network_address)]
            owners.discard(owner)
            if not owners:
                del group[int(network.network_address)]

    def of(self, owner: str) -> tuple[str, ...]:
        """The addresses of ``owner``."""
        return self._of.get(owner, ((), ()))[0]

    def owners(self, address: str) -> Set[str]:
        """Whose an address, as the kernel writes it, is."""
        owners = self._exact.get(address)
        if owners is None:
            return self._by_network(address) if self._networks else NOBODY
        return owners

    def _by_network(self, address: str) -> Set[str]:
        parsed = ip_address(address)
        bits = parsed.max_prefixlen
        number = int(parsed)
        lengths = (length for version, length in self._networks if version == parsed.version)
        for length in sorted(lengths, reverse=True):
            network = number >> (bits - length) << (bits - length)
            owners = self._networks[parsed.version, length].get(network)
            if owners:
                return owners
        return NOBODY
