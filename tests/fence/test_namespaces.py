"""Real networks: nodes in network namespaces, several addresses, IPv4, IPv6, two wires, a spoofer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.c_pair import C_SENDER, WHY_NOT
from tests.rig.fence import SECONDS, Fence

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or WHY_NOT is not None, reason=WHY_NOT or "needs root for `ip netns`"
)
SEND = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 15, 1)
if len(sys.argv) > 4:
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[4]))
sock.bind((sys.argv[1], 0))
sock.sendto(bytes.fromhex("402a301b01000000"), (sys.argv[2], int(sys.argv[3])))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=SECONDS, capture_output=True)


class Network:
    """A collector with two wires; n1 is on both, n2 and a stranger on the first. IPv4 and IPv6."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.spaces = {name: f"{tag}{name}" for name in ("col", "n1", "n2", "bad")}

    def build(self) -> None:
        for space in self.spaces.values():
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        col = self.spaces["col"]
        for bridge in ("lan0", "lan1"):
            ip("-n", col, "link", "add", bridge, "type", "bridge")
            ip("-n", col, "link", "set", bridge, "up")
        self.address("col", "lan0", "10.99.0.1/24", "fd99::1/64")
        self.address("col", "lan1", "10.99.1.1/24", "fd99:1::1/64")
        self.plug("n1", "eth0", "lan0", "10.99.0.11/24", "fd99::11/64")
        self.plug("n1", "eth1", "lan1", "10.99.1.11/24", "fd99:1::11/64")
        self.plug("n2", "eth0", "lan0", "10.99.0.12/24", "fd99::12/64")
        self.plug("bad", "eth0", "lan0", "10.99.0.66/24", "fd99::66/64")

    def plug(self, name: str, device: str, bridge: str, *addresses: str) -> None:
        col, other = self.spaces["col"], f"{name}-{device}"
        ip(
            "-n",
            col,
            "link",
            "add",
            other,
            "type",
            "veth",
            "peer",
            "name",
            device,
            "netns",
            self.spaces[name],
        )
        ip("-n", col, "link", "set", other, "master", bridge, "up")
        self.address(name, device, *addresses)

    def address(self, name: str, device: str, *addresses: str) -> None:
        for address in addresses:
            options = ["nodad"] if ":" in address else []
            ip("-n", self.spaces[name], "address", "add", address, "dev", device, *options)
        ip("-n", self.spaces[name], "link", "set", device, "up")

    def run(self, name: str, *command: str) -> None:
        words = ["ip", "netns", "exec", self.spaces[name], *command]
        subprocess.run(words, check=True, timeout=SECONDS, capture_output=True)

    def c_sender(self, name: str, fence: Fence, *targets: str) -> None:
        self.run(name, str(C_SENDER), "-p", str(fence.port), "-c", "1", *targets)

    def spoof(self, name: str, source: str, target: str, fence: Fence, *ttl: str) -> None:
        """A datagram with a source address of our choice."""
        self.run(name, "python3", "-c", SEND, source, target, str(fence.port), *ttl)

    def remove(self) -> None:
        for space in self.spaces.values():
            subprocess.run(
                ["ip", "netns", "delete", space], check=False, capture_output=True, timeout=SECONDS
            )


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    made = Network(f"kf{os.getpid() % 100_000}")
    try:
        made.build()
        yield made
    finally:
        made.remove()


@pytest.fixture
def fence(tmp_path: Path, network: Network) -> Iterator[Fence]:
    nodes = """
    [node.n1]
    addresses = ["10.99.0.11", "10.99.1.11", "fd99::11", "fd99:1::11"]
    interfaces = ["lan0", "lan1"]
    ttl_min = 64
    [node.n2]
    addresses = ["10.99.0.12", "fd99::12"]
    interfaces = ["lan0"]
    off_grade = "udp-checked"
    ttl_min = 64
    """
    prefix = ("ip", "netns", "exec", network.spaces["col"])
    with Fence(tmp_path, nodes, prefix=prefix, listen=("0.0.0.0:7410", "[::]:7410")) as made:
        yield made


@pytest.mark.parametrize("target", ["10.99.0.1", "10.99.1.1", "fd99::1", "fd99:1::1"])
def test_the_c_sender_is_heard_on_every_wire_and_family(network: Network, fence: Fence, target: str) -> None:
    """A node with two links and four addresses is one node; the C agent knows the first address only."""
    network.c_sender("n1", fence, target)
    fence.until(lambda: fence.off("n1"))
    node = fence.node("n1")
    assert (node["grade"], node["alarms"]) == ("udp-checked", 0)
    assert node["heard_from"] == target.replace("::1", "::11") if ":" in target else target + "1"


def test_two_nodes_that_send_at_once_are_told_apart(network: Network, fence: Fence) -> None:
    """Each by its own address, on one port."""
    network.c_sender("n1", fence, "10.99.0.1", "fd99:1::1")
    network.c_sender("n2", fence, "10.99.0.1")
    fence.until(lambda: fence.off("n1") and fence.off("n2"))
    assert fence.node("n2")["heard_from"] == "10.99.0.12"


def test_a_stranger_is_seen_and_not_believed(network: Network, fence: Fence) -> None:
    """Its address is in the table of the unknown."""
    network.c_sender("bad", fence, "10.99.0.1", "fd99::1")
    fence.until(lambda: len(fence.get("/v1/unknown")["senders"]) == 2)
    assert {each["address"] for each in fence.get("/v1/unknown")["senders"]} == {"10.99.0.66", "fd99::66"}
    assert not fence.off("n1")


def test_a_spoofer_from_far_away_fails_the_ttl(network: Network, fence: Fence) -> None:
    """Every router on the way costs one: an alarm, and no answer where checks are asked for."""
    ip("-n", network.spaces["bad"], "address", "add", "10.99.0.12/32", "dev", "lo")
    try:
        network.spoof("bad", "10.99.0.12", "10.99.0.1", fence, "63")
        fence.until(lambda: fence.node("n2")["alarms"])
        assert (fence.node("n2")["grade"], fence.off("n2")) == ("udp", False)
        network.spoof("n2", "10.99.0.12", "10.99.0.1", fence)
        fence.until(lambda: fence.off("n2"))
    finally:
        ip("-n", network.spaces["bad"], "address", "delete", "10.99.0.12/32", "dev", "lo")


def test_a_spoofer_on_another_wire_fails_the_interface(network: Network, fence: Fence) -> None:
    """n2 lives on lan0; what says so on lan1 is not n2."""
    ip("-n", network.spaces["n1"], "address", "add", "10.99.0.12/32", "dev", "lo")
    try:
        network.spoof("n1", "10.99.0.12", "10.99.1.1", fence)
        fence.until(lambda: fence.node("n2")["alarms"])
        events = fence.get("/v1/events")["events"]
        (alarm,) = [event["data"] for event in events if event["type"].endswith(".alarm")]
        assert (alarm["alarm"], alarm["reason"]) == ("interface", "came in by lan1, not by lan0")
        assert not fence.off("n2")
    finally:
        ip("-n", network.spaces["n1"], "address", "delete", "10.99.0.12/32", "dev", "lo")


def test_a_link_that_goes_down_and_up_is_listened_on_again(network: Network, fence: Fence) -> None:
    """The socket is bound to every address: nothing has to be opened again."""
    for state in ("down", "up"):
        ip("-n", network.spaces["col"], "link", "set", "lan0", state)
    network.address("col", "lan0", "fd99::1/64")  # the kernel takes IPv6 ones away with the link
    network.c_sender("n1", fence, "10.99.0.1")
    fence.until(lambda: fence.off("n1"))


def test_kill_9_in_the_middle_of_it(network: Network, fence: Fence) -> None:
    """Back on the same port, with what it knew."""
    network.c_sender("n1", fence, "fd99::1")
    fence.until(lambda: "node.dumping" in fence.kinds())
    fence.kill()
    fence.start()
    assert fence.off("n1")
    network.c_sender("n2", fence, "fd99::1")
    fence.until(lambda: fence.off("n2"))
