"""fence.udp and fence.listen: real sockets, and what the kernel does for them."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from fence import clock, listen, udp
from fence.listen import BATCH, Ear
from fence.message import BIG, DRILL, LITTLE, SIZE_MAX
from fence.table import Datagram
from fence.udp import ListenError, Where, bound, open_socket
from tests.rig.fence import eventually

HOSTS = ["127.0.0.1", "::1"]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Wire:
    """A socket of ours, and one that sends to it."""

    def __init__(self, host: str, buffer: int = 1 << 20) -> None:
        self.sock = open_socket(Where(host, 0), buffer)
        self.ear = Ear(self.sock)
        self.ear.begin(clock.now())
        self.sender = socket.socket(self.sock.family, socket.SOCK_DGRAM)
        self.sender.connect(self.sock.getsockname()[:2])

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.sender.send(datagram)

    def read(self) -> list[Datagram]:
        return self.ear.read(clock.now)

    def close(self) -> None:
        self.sock.close()
        self.sender.close()


@pytest.fixture(params=HOSTS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    made = Wire(request.param)
    yield made
    made.close()


def contents(batch: list[Datagram]) -> list[tuple[bytes, int]]:
    return [(datagram.data, datagram.count) for datagram in batch]


def test_the_kernel_lets_through_what_begins_like_a_message(wire: Wire) -> None:
    """Both byte orders and drills; junk costs no wake-up, and is counted."""
    longer = LITTLE + b"x" * 100
    wire.send(b"", b"x", LITTLE[:7], b"junkjunkjunk", LITTLE[4:] + LITTLE[:4], LITTLE, BIG, DRILL, longer)
    assert contents(wire.read()) == [(LITTLE, 1), (BIG, 1), (DRILL, 1), (longer, 1)]
    wire.ear.count()
    assert (wire.ear.received, wire.ear.junk, wire.ear.dropped) == (4, 5, 0)


def test_the_filter_is_locked(wire: Wire) -> None:
    """Nobody takes it off again, not even we."""
    with pytest.raises(PermissionError):
        wire.sock.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER


def test_equal_datagrams_are_counted_together_and_others_are_not(wire: Wire) -> None:
    """One pass over the table for a burst of one sender."""
    wire.send(LITTLE, LITTLE, BIG, LITTLE)
    assert contents(wire.read()) == [(LITTLE, 3), (BIG, 1)]
    assert wire.read() == []
    assert wire.ear.received == 4


def test_a_batch_has_an_end(wire: Wire) -> None:
    """A flood does not keep the API from its turn."""
    wire.send(*[LITTLE] * (BATCH + 5))
    assert contents(wire.read()) == [(LITTLE, BATCH)]
    assert contents(wire.read()) == [(LITTLE, 5)]


def test_a_datagram_that_is_too_long_shows_it(wire: Wire) -> None:
    """It is cut to one byte more than a message may have."""
    wire.send(LITTLE + b"x" * 5000)
    (datagram,) = wire.read()
    assert len(datagram.data) == SIZE_MAX + 1


def test_the_address_is_the_one_nodes_are_listed_by(wire: Wire) -> None:
    """Numbers, without a port."""
    wire.send(LITTLE)
    (datagram,) = wire.read()
    assert datagram.address == wire.sender.getsockname()[0]


def test_interface_and_ttl_come_where_hints_are_wanted(wire: Wire) -> None:
    """And stop coming where they are not."""
    udp.want_hints(wire.sock, True)
    wire.ear.hints = True
    if wire.sock.family == socket.AF_INET6:
        wire.sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 7)
    else:
        wire.sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
    wire.send(LITTLE)
    (datagram,) = wire.read()
    assert (datagram.interface, datagram.ttl) == ("lo", 7)
    udp.want_hints(wire.sock, False)
    wire.send(LITTLE)
    (datagram,) = wire.read()
    assert (datagram.interface, datagram.ttl) == (None, None)


def test_what_waited_is_as_old_as_it_is(wire: Wire) -> None:
    """A daemon that was stopped: each datagram has its own stamp, the newest is not the oldest."""
    wire.send(LITTLE)
    time.sleep(0.6)
    wire.send(BIG)
    wire.ear.empty_at -= 100  # as if it had not looked for long
    first, second = wire.read()
    assert 0.6 <= first.age < 30
    assert second.age < first.age - 0.3


def test_what_came_just_now_is_new(wire: Wire) -> None:
    """The normal case."""
    wire.send(LITTLE)
    (datagram,) = wire.read()
    assert 0 <= datagram.age < 5


def test_after_a_clock_step_a_datagram_is_as_old_as_it_may_be(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamp is of a clock that was set: only the last look at the empty socket bounds its age."""
    wire.send(LITTLE)
    wire.ear.empty_at -= 40
    monkeypatch.setattr(listen, "time", SimpleNamespace(time=lambda: time.time() - 3600))
    (datagram,) = wire.read()
    assert 40 <= datagram.age < 70


def test_without_a_stamp_a_datagram_is_as_old_as_it_may_be(wire: Wire) -> None:
    """A kernel that gives none."""
    wire.sock.setsockopt(socket.SOL_SOCKET, udp.SO_TIMESTAMPNS, 0)
    wire.send(LITTLE)
    wire.ear.empty_at -= 40
    (datagram,) = wire.read()
    assert 40 <= datagram.age < 70


def test_drops_for_want_of_room_are_counted_and_told_from_junk(wire: Wire) -> None:
    """Known, never silent: the kernel's one counter holds both."""
    small = Wire(bound(wire.sock).host, buffer=4096)
    try:
        small.send(*[LITTLE] * 300, *[b"junkjunkjunk"] * 50)
        got = sum(datagram.count for datagram in small.read())
        small.ear.count()
        assert (small.ear.received, small.ear.dropped, small.ear.junk) == (got, 300 - got, 50)
        assert small.ear.dropped > 200
    finally:
        small.close()


def test_a_counter_that_wraps_goes_on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's has 32 bits."""
    counters = iter([2**32 - 2, 3])
    monkeypatch.setattr(udp, "refused", lambda sock: next(counters))
    monkeypatch.setattr(udp, "overflows", lambda family: None)
    wire.ear.begin(0)
    wire.ear.count()
    assert (wire.ear.dropped, wire.ear.junk) == (5, 0)  # not told apart: the worse is said


def test_an_older_kernel_tells_with_the_next_datagram(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """SO_RXQ_OVFL: known, if later."""
    monkeypatch.setattr(udp, "SO_MEMINFO", 9999)
    wire.ear.begin(0)
    wire.ear.count()
    assert (wire.ear.dropped, wire.ear.junk) == (0, 0)
    wire.send(*[b"junkjunkjunk"] * 7, LITTLE)
    wire.read()
    wire.ear.count()
    assert (wire.ear.dropped, wire.ear.junk) == (0, 7)


@ROOT
def test_the_buffer_is_as_large_as_the_settings_say(wire: Wire) -> None:
    """Past rmem_max, with CAP_NET_ADMIN; the kernel doubles it for its own."""
    assert udp.buffer_bytes(wire.sock) == 2 << 20


@ROOT
def test_without_the_capability_the_buffer_is_what_the_kernel_allows() -> None:
    """No error: a smaller buffer is a smaller reserve."""
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        with open_socket(Where("127.0.0.1", 0), 64 << 20) as sock:
            os._exit(0 if udp.buffer_bytes(sock) == 2 * limit else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_both_families_have_the_same_port() -> None:
    """IPv6 is for IPv6 alone: an address has one spelling, and the C agent's own socket is not in the way."""
    with (
        open_socket(Where("0.0.0.0", 0), 1 << 20) as four,
        open_socket(Where("::", bound(four).port), 1 << 20) as six,
    ):
        assert bound(four).port == bound(six).port


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (
            Where("192.0.2.77", 7410),
            r"cannot listen on UDP 192\.0\.2\.77:7410: Cannot assign requested address",
        ),
        (Where("2001:db8::77", 7410), r"cannot listen on UDP \[2001:db8::77\]:7410: Cannot assign"),
        (
            Where("fe80::1%none", 7410),
            r"cannot listen on UDP \[fe80::1%none\]:7410: no interface with this name",
        ),
    ],
)
def test_an_address_that_cannot_be_had_is_said_with_what_to_do(where: Where, reason: str) -> None:
    """One line, no abort: the C agent dies of it."""
    with pytest.raises(ListenError, match=reason):
        open_socket(where, 1 << 20)


def test_a_taken_port_is_said(wire: Wire) -> None:
    """And how to find who has it."""
    with pytest.raises(ListenError, match=r"Address already in use; see `ss -ulpn sport = \d+`"):
        open_socket(bound(wire.sock), 1 << 20)


def test_the_filter_program_is_what_the_protocol_says() -> None:
    """Length, then three magics, big-endian as BPF reads them."""
    program = udp.filter_program()
    assert [step[3] for step in program if step[0] == udp.EQUAL] == [0x402A301B, 0x1B302A40, 0x4B444E54]
    for place, (_, true, false, _) in enumerate(program):
        assert place + max(true, false) + 1 <= len(program)
    assert struct.calcsize("=HBBI") == 8


async def test_what_comes_is_given_on_and_counters_are_brought_up_to_date(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The loop of the daemon, on a real socket."""
    monkeypatch.setattr(listen, "LOOK_SECONDS", 0.05)
    given, taken = trio.open_memory_channel[list[Datagram]](10)
    await nursery.start(listen.listen, wire.ear, clock.now, given.send_nowait)
    wire.send(b"junkjunkjunk", LITTLE)
    with trio.fail_after(5):
        assert contents(await taken.receive()) == [(LITTLE, 1)]
    await eventually(lambda: wire.ear.junk)
    assert wire.ear.problem is None


async def test_a_socket_that_fails_is_a_problem_until_it_does_not(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The daemon says so, and goes on trying."""
    monkeypatch.setattr(listen, "LOOK_SECONDS", 0.02)
    read, failing = Ear.read, [True]

    def broken(ear: Ear, now: object) -> list[Datagram]:
        if failing:
            raise OSError(12, "Cannot allocate memory")
        return read(ear, clock.now)

    monkeypatch.setattr(Ear, "read", broken)
    await nursery.start(listen.listen, wire.ear, clock.now, lambda batch: None)
    await eventually(lambda: wire.ear.problem)
    assert str(wire.ear.problem).endswith("cannot be read: Cannot allocate memory")
    failing.clear()
    await eventually(lambda: not wire.ear.problem)
