"""The running host's network said again in dracut's words."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sender.image.network import plan_network


def link(
    name: str, *addresses: tuple[str, int], kind: str = "", dynamic: bool = False, **more: Any
) -> dict[str, Any]:
    return {
        "ifname": name,
        "address": f"52:54:00:00:00:{sum(name.encode()) % 256:02x}",
        **({"linkinfo": {"info_kind": kind, "info_data": more.pop("data", {})}} if kind else {}),
        **more,
        "addr_info": [
            {
                "family": "inet6" if ":" in address else "inet",
                "local": address,
                "prefixlen": bits,
                "scope": "global",
                **({"dynamic": True} if dynamic else {}),
            }
            for address, bits in addresses
        ],
    }


def route(remote: str, dev: str, source: str, gateway: str = "") -> tuple[str, str]:
    return remote, json.dumps(
        [{"dst": remote, "dev": dev, "prefsrc": source, **({"gateway": gateway} if gateway else {})}]
    )


def plan(links: list[dict[str, Any]], *routes: tuple[str, str], **more: Any) -> list[str]:
    return list(plan_network(json.dumps(links), routes, **more).arguments)


def test_a_static_address_stays_the_same() -> None:
    """With its gateway, mask, and the card bound to its name by MAC."""
    card = link("enp0s2", ("192.0.2.5", 24))
    assert plan([card], route("198.51.100.1", "enp0s2", "192.0.2.5", "192.0.2.1"), hostname="web01") == [
        f"ifname=enp0s2:{card['address']}",
        "ip=192.0.2.5::192.0.2.1:255.255.255.0:web01:enp0s2:none",
        "rd.neednet=1",
    ]


def test_a_leased_address_is_leased_again() -> None:
    """DHCP, SLAAC and DHCPv6 each by its own word."""
    assert "ip=enp0s2:dhcp" in plan(
        [link("enp0s2", ("192.0.2.5", 24), dynamic=True)], route("192.0.2.9", "enp0s2", "192.0.2.5")
    )
    assert "ip=enp0s2:auto6" in plan(
        [link("enp0s2", ("2001:db8::5", 64), dynamic=True)], route("2001:db8::9", "enp0s2", "2001:db8::5")
    )
    assert "ip=enp0s2:dhcp6" in plan(
        [link("enp0s2", ("2001:db8::5", 128), dynamic=True)], route("2001:db8::9", "enp0s2", "2001:db8::5")
    )


def test_ipv6_is_written_in_brackets() -> None:
    """A static one keeps its prefix length in place of a mask."""
    arguments = plan(
        [link("enp0s2", ("2001:db8::5", 64))], route("2001:db8:1::9", "enp0s2", "2001:db8::5", "fe80::1")
    )
    assert "ip=[2001:db8::5]::[fe80::1]:64::enp0s2:none" in arguments


def test_names_the_kernel_gives_out_are_not_used() -> None:
    """eth0 may be another card in the capture kernel."""
    card = link("eth0", ("192.0.2.5", 24))
    arguments = plan([card], route("192.0.2.9", "eth0", "192.0.2.5"))
    assert arguments[0] == f"ifname=kdump-eth0:{card['address']}"
    assert ":kdump-eth0:none" in arguments[1]


def test_a_vlan_on_a_bond_brings_all_that_is_beneath() -> None:
    """Each layer is built again; the members keep their permanent addresses."""
    links = [
        link("ens1", master="bond0", permaddr="52:54:00:aa:aa:01"),
        link("ens2", master="bond0", permaddr="52:54:00:aa:aa:02"),
        link("bond0", kind="bond", data={"mode": "802.3ad", "miimon": 100, "ad_lacp_rate": "fast"}),
        link("bond0.7", ("192.0.2.5", 24), kind="vlan", link="bond0"),
    ]
    assert plan(links, route("192.0.2.9", "bond0.7", "192.0.2.5")) == [
        "vlan=bond0.7:bond0",
        "bond=bond0:ens1,ens2:mode=802.3ad,miimon=100,lacp_rate=fast",
        "ifname=ens1:52:54:00:aa:aa:01",
        "ifname=ens2:52:54:00:aa:aa:02",
        "ip=192.0.2.5:::255.255.255.0::bond0.7:none",
        "rd.neednet=1",
    ]
    assert plan_network(json.dumps(links), [route("192.0.2.9", "bond0.7", "192.0.2.5")]).drivers[-2:] == (
        "8021q",
        "bonding",
    )


def test_a_bridge_comes_without_its_guests() -> None:
    """Their taps do not exist in the capture kernel."""
    links = [
        link("ens1", master="br0"),
        link("tap3", master="br0", kind="tun"),
        link("br0", ("192.0.2.5", 24), kind="bridge"),
    ]
    arguments = plan(links, route("192.0.2.9", "br0", "192.0.2.5"))
    assert arguments[0] == "bridge=br0:ens1"


def test_two_collectors_on_one_card_are_one_address() -> None:
    """A second gateway becomes a route."""
    arguments = plan(
        [link("ens1", ("192.0.2.5", 24))],
        route("198.51.100.1", "ens1", "192.0.2.5", "192.0.2.1"),
        route("198.51.100.2", "ens1", "192.0.2.5", "192.0.2.1"),
        route("203.0.113.1", "ens1", "192.0.2.5", "192.0.2.254"),
    )
    assert sum(a.startswith("ip=") for a in arguments) == 1
    assert [a for a in arguments if a.startswith("rd.route")] == ["rd.route=203.0.113.1/32:192.0.2.254:ens1"]


def test_nameservers_come_along_but_not_this_hosts_own() -> None:
    """A resolver on 127.0.0.53 does not run there."""
    arguments = plan(
        [link("ens1", ("192.0.2.5", 24))],
        route("192.0.2.9", "ens1", "192.0.2.5"),
        nameservers=["127.0.0.53", "192.0.2.2", "::1"],
    )
    assert [a for a in arguments if a.startswith("nameserver")] == ["nameserver=192.0.2.2"]


def test_a_collector_that_is_this_host_is_told() -> None:
    """A crashed kernel cannot send to itself; nothing is configured for it."""
    network = plan_network(json.dumps([link("lo")]), [route("127.0.0.1", "lo", "127.0.0.1")])
    assert network.arguments == ()
    assert "is this host" in network.warnings[0]


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_ip_prints_is_a_plan_or_a_warning(addresses: str, text: str) -> None:
    """An ip without -j, an empty answer, an error text."""
    assert plan_network(addresses, [("192.0.2.9", text)]).warnings


def quick(links: list[dict[str, Any]], *routes: tuple[str, str]) -> list[str]:
    return list(plan_network(json.dumps(links), routes).quick)


def test_plain_cards_with_addresses_of_their_own_have_a_short_way() -> None:
    """Found by MAC, named, addressed; each remote by its own route, so nothing else is in the way."""
    card = link("enp0s2", ("192.0.2.5", 24), ("2001:db8::5", 64), mtu=9000)
    assert quick(
        [card],
        route("192.0.2.9", "enp0s2", "192.0.2.5"),
        route("198.51.100.1", "enp0s2", "192.0.2.5", "192.0.2.1"),
        route("2001:db8:1::9", "enp0s2", "2001:db8::5", "fe80::1"),
    ) == [
        f"card enp0s2 {card['address']}",
        "link set enp0s2 mtu 9000",
        "link set enp0s2 up",
        "address add 192.0.2.5/24 dev enp0s2",
        "route replace 198.51.100.1/32 via 192.0.2.1 dev enp0s2 onlink",
        "address add 2001:db8::5/64 dev enp0s2 nodad",
        "route replace 2001:db8:1::9/128 via fe80::1 dev enp0s2",
    ]


def test_a_lease_and_a_built_interface_are_left_to_dracut() -> None:
    """One of them among the ways is enough."""
    card = link("enp0s2", ("192.0.2.5", 24))
    leased = link("enp0s3", ("198.51.100.5", 24), dynamic=True)
    bond = link("bond0", ("203.0.113.5", 24), kind="bond")
    way = route("192.0.2.9", "enp0s2", "192.0.2.5")
    assert quick([card], way)
    assert not quick([card, leased], way, route("198.51.100.9", "enp0s3", "198.51.100.5"))
    assert not quick([card, bond], way, route("203.0.113.9", "bond0", "203.0.113.5"))


def test_an_unusual_mtu_is_kept() -> None:
    """Overlays and some clouds drop what is larger."""
    card = link("enp0s2", ("192.0.2.5", 24), mtu=1460)
    assert "ip=192.0.2.5:::255.255.255.0::enp0s2:none:1460" in plan(
        [card], route("192.0.2.9", "enp0s2", "192.0.2.5")
    )
