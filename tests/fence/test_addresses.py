"""fence.addresses: whose address it is."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.addresses import Addresses, canonical


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("2001:DB8:0:0::10", "2001:db8::10"),
        ("::ffff:192.0.2.10", "192.0.2.10"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
        ("n1", None),
        ("", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("1:2", None),
        ("n\0", None),
        ("ü", None),
    ],
)
def test_canonical_addresses(text: str, address: str | None) -> None:
    """However the operator writes it, it is what the kernel says of a datagram."""
    assert canonical(text) == address


@given(st.ip_addresses(v=6))
def test_canonical_is_the_kernels_form(address: object) -> None:
    """For all of IPv6, or a node would be a stranger."""
    text = str(address)
    kernel = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    assert canonical(text) in (kernel, kernel.removeprefix("::ffff:"))


def test_an_address_of_two_nodes_is_nobodys() -> None:
    """Behind one SNAT address there is no telling them apart by it."""
    addresses = Addresses()
    addresses.put("n1", ["192.0.2.10", "192.0.2.1"])
    addresses.put("n2", ["192.0.2.20", "192.0.2.1"])
    assert addresses.owners("192.0.2.10") == {"n1"}
    assert addresses.owners("192.0.2.1") == {"n1", "n2"}
    addresses.drop("n2")
    assert addresses.owners("192.0.2.1") == {"n1"}


def test_an_exact_address_is_before_every_network_and_a_small_network_before_a_large_one() -> None:
    """DHCP in the capture kernel: the network says whose it is."""
    addresses = Addresses()
    addresses.put("rack", [], [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")])
    addresses.put("n1", [], [ip_network("192.0.2.16/28"), ip_network("2001:db8:1::/48")])
    addresses.put("n2", ["192.0.2.17"])
    assert addresses.owners("192.0.2.17") == {"n2"}
    assert addresses.owners("192.0.2.18") == {"n1"}
    assert addresses.owners("192.0.2.200") == {"rack"}
    assert addresses.owners("2001:db8:1::5") == {"n1"}
    assert addresses.owners("2001:db8:2::5") == {"rack"}
    assert addresses.owners("198.51.100.1") == set()
    assert addresses.owners("2001:db9::1") == set()


def test_what_is_dropped_is_gone() -> None:
    """A reload leaves nothing behind."""
    addresses = Addresses()
    addresses.put("n1", ["192.0.2.10"], [ip_network("192.0.2.0/24")])
    addresses.put("n2", [], [ip_network("192.0.2.0/24")])
    addresses.drop("n1")
    addresses.drop("never")
    assert addresses.owners("192.0.2.10") == {"n2"}
    assert addresses.of("n1") == ()
    addresses.drop("n2")
    assert addresses.owners("192.0.2.10") == set()


NETWORKS = st.builds(
    lambda address, length: ip_network((int(address), length), strict=False),
    st.ip_addresses(v=4),
    st.integers(0, 32),
)


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(NETWORKS, max_size=3)), st.ip_addresses(v=4))
def test_the_smallest_network_wins_whatever_they_are(nodes: dict[str, list], address: object) -> None:  # type: ignore[type-arg]
    """The same as looking at every network there is."""
    addresses = Addresses()
    for name, networks in nodes.items():
        addresses.put(name, [], networks)
    holding = [
        (network.prefixlen, name)
        for name, networks in nodes.items()
        for network in networks
        if ip_address(str(address)) in network
    ]
    longest = max((length for length, _ in holding), default=None)
    assert addresses.owners(str(address)) == {name for length, name in holding if length == longest}
