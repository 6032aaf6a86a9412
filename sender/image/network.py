"""The running host's network, said again as arguments of dracut.cmdline(7).

Pure: it reads what ``ip -j -d`` printed. Only the interfaces on the way to a
collector or a cluster node come along, with what they are built on.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# network-legacy of dracut cannot rename an interface into a name the kernel itself gives out
_KERNEL_NAMES = ("eth", "wlan", "ib")
_MTU = 1500  # of Ethernet, and what the kernel gives a card


@dataclass(frozen=True, slots=True)
class Network:
    """``arguments`` for the image's command line; ``interfaces`` the physical ones, for their drivers.

    ``quick`` says the same for capture's quick.sh, which needs no udev: ``card NAME MAC`` and lines of
    ip-batch; empty where an address has to be asked for or an interface is made of others.
    """

    arguments: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    card_drivers: tuple[str, ...] = ()

    @property
    def drivers(self) -> tuple[str, ...]:
        """Kernel modules that no card's own driver brings along."""
        kinds = {"bond": "bonding", "vlan": "8021q", "bridge": "bridge", "team": "team"}
        used = [
            kinds[word] for word in dict.fromkeys(a.split("=")[0] for a in self.arguments) if word in kinds
        ]
        return ("af_packet", "ipv6", *used, *self.card_drivers) if self.arguments else ()


def plan_network(
    addresses: str, routes: Sequence[tuple[str, str]], nameservers: Iterable[str] = (), hostname: str = ""
) -> Network:
    """Plan it.

    ``addresses`` is the output of ``ip -j -d address``; ``routes`` pairs each remote address with
    the output of ``ip -j route get ADDRESS``.
    """
    links: dict[str, dict[str, Any]] = {
        link["ifname"]: link for link in _loads(addresses) if "ifname" in link
    }
    names = {name: _image_name(name) for name in links}
    arguments: list[str] = []
    physical: list[str] = []
    warnings: list[str] = []
    configured: dict[str, str] = {}  # interface and IP version -> its gateway
    quick = _Quick()
    for remote, text in routes:
        route = next(iter(_loads(text)), None)
        device = (route or {}).get("dev", "")
        if route is None or device not in links:
            warnings.append(f"no route to {remote}: the capture kernel will not reach it")
            continue
        if device == "lo":
            warnings.append(f"{remote} is this host: a crashed kernel cannot reach itself")
            continue
        gateway = route.get("gateway", "")
        version = ipaddress.ip_address(remote.split("%")[0]).version
        key = f"{device}/{version}"
        quick.add(links[device], names[device], route, remote, version)
        if key not in configured:
            configured[key] = gateway
            _stack(device, links, names, arguments, physical)
            arguments.append(_address(links[device], route, version, gateway, names[device], hostname))
        elif gateway != configured[key]:
            target, through = (f"[{remote}]", f"[{gateway}]") if version == 6 else (remote, gateway)
            bits = 32 if version == 4 else 128
            arguments.append(f"rd.route={target}/{bits}:{through}:{names[device]}")
    if not configured:
        return Network((), (), tuple(warnings))
    servers = [f"nameserver={server}" for server in nameservers if not _loopback(server)]
    wanted = dict.fromkeys([*arguments, *servers[:3], "rd.neednet=1"])
    return Network(tuple(wanted), tuple(dict.fromkeys(physical)), tuple(warnings), quick.lines())


class _Quick:
    """Collects the lines of `Network.quick` while they can be had."""

    def __init__(self) -> None:
        self._cards: dict[str, None] = {}
        self._batch: dict[str, None] = {}
        self._possible = True

    def add(self, link: dict[str, Any], name: str, route: dict[str, Any], remote: str, version: int) -> None:
        """One remote address that is reached through this link."""
        address = _address_of(link, route, version)
        mac = link.get("permaddr") or link.get("address", "")
        if link.get("linkinfo", {}).get("info_kind") or not mac or address is None or address.get("dynamic"):
            self._possible = False
            return
        self._cards[f"card {name} {mac}"] = None
        if link.get("mtu", _MTU) != _MTU:
            self._batch[f"link set {name} mtu {link['mtu']}"] = None
        self._batch[f"link set {name} up"] = None
        now = " nodad" if version == 6 else ""  # nobody else took it since the crash
        self._batch[f"address add {address['local']}/{address['prefixlen']} dev {name}{now}"] = None
        if route.get("gateway"):
            bits = 32 if version == 4 else 128
            self._batch[f"route replace {remote}/{bits} via {route['gateway']} dev {name} onlink"] = None

    def lines(self) -> tuple[str, ...]:
        return (*self._cards, *self._batch) if self._possible else ()


def _stack(
    device: str,
    links: dict[str, dict[str, Any]],
    names: dict[str, str],
    arguments: list[str],
    physical: list[str],
) -> None:
    """The arguments that build ``device``: VLAN parent, bond or bridge members, fixed name."""
    link = links[device]
    info = link.get("linkinfo", {})
    kind = info.get("info_kind", "")
    members = [name for name, other in links.items() if other.get("master") == device]
    if kind == "vlan" and link.get("link") in links:
        arguments.append(f"vlan={names[device]}:{names[link['link']]}")
        _stack(link["link"], links, names, arguments, physical)
    elif kind == "bond" and members:
        joined = ",".join(names[name] for name in members)
        options = _bond_options(info.get("info_data", {}))
        arguments.append(f"bond={names[device]}:{joined}" + (f":{options}" if options else ""))
        for name in members:
            _stack(name, links, names, arguments, physical)
    elif kind == "bridge" and members:
        # guests' taps do not exist in the capture kernel
        wired = [
            name
            for name in members
            if links[name].get("linkinfo", {}).get("info_kind") not in ("tun", "veth")
        ]
        arguments.append(f"bridge={names[device]}:{','.join(names[name] for name in wired)}")
        for name in wired:
            _stack(name, links, names, arguments, physical)
    elif kind == "team" and members:
        arguments.append(f"team={names[device]}:{','.join(names[name] for name in members)}")
        for name in members:
            _stack(name, links, names, arguments, physical)
    else:
        mac = link.get("permaddr") or link.get("address", "")
        if (mac and names[device] != device) or (mac and not device.startswith(_KERNEL_NAMES)):
            arguments.append(f"ifname={names[device]}:{mac}")
        physical.append(device)


def _image_name(name: str) -> str:
    """``kdump-eth0`` for a name that another card could take in the capture kernel; 15 bytes at most."""
    if name.startswith(_KERNEL_NAMES) and "." not in name:
        return f"kdump-{name}"[:15]
    return name


def _address(
    link: dict[str, Any], route: dict[str, Any], version: int, gateway: str, name: str, hostname: str
) -> str:
    """The ``ip=`` argument of one interface: dynamic where the host's address is, else the same address."""
    address = _address_of(link, route, version)
    mtu = f":{link['mtu']}" if link.get("mtu", _MTU) != _MTU else ""
    if address is None or address.get("dynamic"):
        if version == 4:
            return f"ip={name}:dhcp"
        stateful = address is not None and address.get("prefixlen") == 128
        return f"ip={name}:dhcp6" if stateful else f"ip={name}:auto6"
    if version == 4:
        mask = ipaddress.ip_network(f"0.0.0.0/{address['prefixlen']}").netmask
        return f"ip={address['local']}::{gateway}:{mask}:{hostname}:{name}:none{mtu}"
    through = f"[{gateway}]" if gateway else ""
    return f"ip=[{address['local']}]::{through}:{address['prefixlen']}:{hostname}:{name}:none{mtu}"


def _address_of(link: dict[str, Any], route: dict[str, Any], version: int) -> dict[str, Any] | None:
    """The link's own address on the way to a remote, as ``ip -j`` prints it."""
    family = "inet" if version == 4 else "inet6"
    source = route.get("prefsrc") or route.get("src", "")
    found = [a for a in link.get("addr_info", []) if a.get("family") == family and a.get("scope") == "global"]
    return next((a for a in found if a.get("local") == source), found[0] if found else None)


def _bond_options(data: dict[str, Any]) -> str:
    """Those of the bond's options that decide whether its link comes up."""
    said = []
    for ours, theirs in (
        ("mode", "mode"),
        ("miimon", "miimon"),
        ("updelay", "updelay"),
        ("downdelay", "downdelay"),
        ("lacp_rate", "ad_lacp_rate"),
        ("xmit_hash_policy", "xmit_hash_policy"),
        ("primary", "primary"),
    ):
        value = data.get(theirs)
        if value not in (None, 0, "", "slow", "layer2"):
            said.append(f"{ours}={_image_name(str(value)) if ours == 'primary' else value}")
    return ",".join(said)


def _loads(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text or "[]")
    except ValueError:
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.split("%")[0]).is_loopback
    except ValueError:
        return True
