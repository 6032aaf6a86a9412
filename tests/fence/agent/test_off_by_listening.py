"""``off`` without a daemon: the agent hears the node itself, as the C agent does but for its bugs."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.agent.holder import holder_of, inodes_untrusted
from fence.agent.listen import flaw_untrusted
from fence.pair.addresses import Address, is_one_of, of_sockaddr, resolve
from tests.rig.c_pair import C_SENDER

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent

Start = Callable[..., "Agent"]
LITTLE = struct.pack("<II", 0x1B302A40, 1)
BIG = struct.pack(">II", 0x1B302A40, 1)
DRILL = bytes.fromhex("4b444e5400000001")


def send(port: int, *datagrams: bytes, source: str = "127.0.0.1", to: str = "127.0.0.1") -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for datagram in datagrams:
            sender.sendto(datagram, (to, port))


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_the_c_sender_is_heard(start: Start, free_port: int, family: str) -> None:
    """The unmodified program that every distribution puts into its capture kernel."""
    address = {"ipv4": "127.0.0.1", "ipv6": "::1"}[family]
    agent = start("-n", address, "-p", free_port, "-t", 20)
    agent.heard(f"waiting for message from '{address}'")
    subprocess.run([C_SENDER, "-p", str(free_port), "-c", "1", address], check=True)
    assert agent.end() == (0, f"[debug]: received valid message from '{address}'\n", "")


@pytest.mark.parametrize("message", [LITTLE, BIG, LITTLE + b"KDN\x01\x01\x02n1", BIG + bytes(1392)])
def test_either_byte_order_and_more_bytes_are_taken(start: Start, free_port: int, message: bytes) -> None:
    """s390x sends big endian; extended senders send more than eight bytes."""
    agent = start("-n", "127.0.0.1", "-p", free_port, "-t", 20)
    agent.heard("waiting")
    send(free_port, message)
    assert agent.end()[0] == 0


def test_what_the_c_agent_takes_by_mistake_is_not_taken(start: Start, free_port: int) -> None:
    """It never looks at the length: an empty datagram after somebody else's good one counted as the node's.

    Measured with 4.12.1: each of these alone makes it say yes.
    """
    agent = start("-n", "127.0.0.1", "-p", free_port, "-t", 1, "-v")
    agent.heard("waiting")
    send(free_port, LITTLE, source="127.0.0.2")
    send(free_port, b"", LITTLE[:7], LITTLE[:4], b"\0\0\0\0" + LITTLE[4:], LITTLE[:4], DRILL)
    send(free_port, struct.pack("<II", 0x1B302A40, 2), struct.pack("<II", 0x1B302A40, 0))
    status, out, _ = agent.end()
    assert status == 1
    assert out.splitlines() == [
        "[debug]: discard message from '127.0.0.2'",
        "[debug]: message of 0 bytes is too short",
        "[debug]: message of 7 bytes is too short",
        "[debug]: message of 4 bytes is too short",
        "[debug]: invalid magic number '0x0'",
        "[debug]: message of 4 bytes is too short",
        "[debug]: invalid magic number '0x544E444B'",
        "[debug]: invalid message version '0x2'",
        "[debug]: invalid message version '0x0'",
        "[debug]: timeout after 1 seconds",
    ]


@pytest.mark.parametrize("source", ["127.0.0.3", "127.0.0.4", "::1"])
def test_any_of_many_addresses_in_both_families_is_the_node(
    start: Start, free_port: int, source: str
) -> None:
    """The C agent takes one family only, and of a name its first address only."""
    agent = start("-n", "127.0.0.3,127.0.0.4,::1", "-p", free_port, "-t", 20)
    agent.heard("waiting for message from '::1'")
    send(free_port, LITTLE, source=source, to="::1" if source == "::1" else "127.0.0.1")
    assert agent.end() == (0, f"[debug]: received valid message from '{source}'\n", "")


def test_family_leaves_the_others_out(start: Start, free_port: int) -> None:
    """family=ipv6 with an IPv4 address means no node at all."""
    status, _, err = start("-n", "127.0.0.1", "-f", "ipv6", "-p", free_port, "-t", 1).end()
    assert status == 1
    assert "failed to get node '127.0.0.1'" in err


def test_a_name_that_does_not_resolve_leaves_the_others(start: Start, free_port: int) -> None:
    """The C agent gives up at the first one; one good name is enough to hear the node."""
    agent = start("-n", "no-such-host.invalid,127.0.0.1", "-p", free_port, "-t", 20)
    agent.heard("waiting")
    send(free_port, LITTLE)
    status, _, err = agent.end()
    assert status == 0
    assert err == "[error]: failed to get node 'no-such-host.invalid'\n"
    status, _, err = start("-n", "no-such-host.invalid", "-p", free_port, "-t", 1, "-vv").end()
    assert status == 1
    assert "[error]: getaddrinfo (Name or service not known)" in err


def test_the_nodename_helps_where_the_port_is_no_host(start: Start, free_port: int) -> None:
    """Pacemaker 2.1.5 gives port in any case; a plug's number means nothing to the resolver."""
    agent = start(stdin=f"nodename=127.0.0.1\nport=no-such-host.invalid\nipport={free_port}\n")
    agent.heard("waiting for message from '127.0.0.1'")
    send(free_port, LITTLE)
    assert agent.end()[0] == 0


def test_a_taken_port_is_said_in_one_line_and_waited_for(start: Start, free_port: int) -> None:
    """The C agent aborts (exit 134). Two of ours after each other get both their messages."""
    first = start("-n", "127.0.0.3", "-p", free_port, "-t", 20)
    first.heard("waiting")
    second = start("-n", "127.0.0.4", "-p", free_port, "-t", 20)
    assert second.process.stderr
    line = second.process.stderr.readline()
    assert line == (
        f"[error]: bind (Address already in use): UDP port {free_port} is held by "
        f"fence_kdump (pid {first.process.pid}); waiting for it\n"
    )
    send(free_port, LITTLE, source="127.0.0.3")
    assert first.end()[0] == 0
    second.heard("waiting for message from '127.0.0.4'")
    send(free_port, LITTLE, source="127.0.0.4")
    status, _, err = second.end()
    assert (status, err) == (0, "")


def test_a_port_that_stays_taken_is_a_timeout(start: Start) -> None:
    """Exit status 1 in time, whoever holds it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("", 0))
        begin = time.monotonic()
        status, _, err = start("-n", "127.0.0.1", "-p", holder.getsockname()[1], "-t", 1).end()
    assert status == 1
    assert time.monotonic() - begin < 30
    assert err.count("\n") == 1


def test_sigterm_ends_it_as_it_ends_c(start: Start, free_port: int) -> None:
    """Pacemaker's own timeout: killed by the signal, nothing said."""
    agent = start("-n", "127.0.0.1", "-p", free_port)
    agent.heard("waiting")
    agent.process.terminate()
    assert agent.end() == (-15, "", "")


def test_a_reader_that_went_away_changes_no_answer(start: Start, free_port: int) -> None:
    """Whoever started us may close the pipe; the exit status is the answer."""
    agent = start("-n", "127.0.0.1", "-p", free_port, "-t", 20)
    agent.heard("waiting")
    assert agent.process.stdout
    agent.process.stdout.close()
    agent.process.stdout = None
    send(free_port, LITTLE)
    assert agent.end()[0] == 0


@given(st.binary(max_size=40))
def test_only_the_two_headers_pass(datagram: bytes) -> None:
    """Whatever comes, it is a message by its first eight bytes or there is a reason."""
    assert (flaw_untrusted(datagram) is None) == (datagram[:8] in (LITTLE, BIG))
    assert flaw_untrusted(LITTLE + datagram) is None


def test_addresses_are_compared_as_numbers() -> None:
    """An IPv4 address in IPv6 clothing, another spelling, and a link-local one without its interface."""
    known = (
        *resolve("::ffff:192.0.2.1"),
        *resolve("2001:DB8:0::1"),
        Address(b"\xfe\x80" + bytes(13) + b"\1"),
    )
    assert [str(address) for address in known] == ["192.0.2.1", "2001:db8::1", "fe80::1"]
    assert is_one_of(of_sockaddr(("192.0.2.1", 1)), known)
    assert is_one_of(of_sockaddr(("::ffff:192.0.2.1", 1, 0, 0)), known)
    assert is_one_of(of_sockaddr(("2001:db8::1", 1, 0, 0)), known)
    assert is_one_of(of_sockaddr(("fe80::1%3", 1, 0, 3)), known)
    assert not is_one_of(of_sockaddr(("192.0.2.2", 1)), known)
    assert not is_one_of(of_sockaddr(("fe80::1%3", 1, 0, 3)), [known[2]._replace(scope=4)])


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300, "é.invalid", "a..b"])
def test_a_name_that_is_none_is_an_os_error(name: str) -> None:
    """Python's own resolver call has five other ways to fail."""
    with pytest.raises(OSError, match=r"."):
        resolve(name or "\0")


def test_the_holder_of_a_port_is_named() -> None:
    """/proc/net/udp tells the inode, /proc/PID/fd whose it is."""
    assert holder_of(1) is None
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as holder:
        holder.bind(("::", 0))
        assert "(pid " in str(holder_of(holder.getsockname()[1]))


@given(st.text())
def test_any_table_of_sockets_is_read(table: str) -> None:
    """A kernel with other columns gives no answer rather than an error."""
    assert isinstance(inodes_untrusted(table, 7410), frozenset)
