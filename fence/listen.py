"""Reads the sockets: everything that is there at once, then gives it on.

A daemon that was stopped, swapped out or busy must not take what waited in the socket for what was just
sent. So each has an upper bound of its age: the time since the socket was last seen empty, which is looked
for every second. Within it the kernel's own time stamp counts, if the wall clock was not set meanwhile.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from fence import udp
from fence.message import SIZE_MAX
from fence.table import Datagram

BATCH = 512  # datagrams read before others get their turn
ANCILLARY = 256  # bytes
LOOK_SECONDS = 1.0  # the longest time between two looks at a socket
OLD_SECONDS = 0.25  # a batch whose oldest is older is dated one by one
STEP_SECONDS = 0.5  # a wall clock that moved more against ours was set
TIMESPEC = struct.Struct("@qq")

Ancillary = list[tuple[int, int, bytes]]
Received = tuple[bytes, Ancillary, int, tuple[str, int]]


@dataclass(slots=True)
class Ear:
    """One socket and what is known of it."""

    sock: socket.socket
    hints: bool = False
    received: int = 0
    dropped: int = 0  # by the kernel, for want of room: at most so many
    junk: int = 0  # by the filter: at least so many
    problem: str | None = None
    empty_at: float = 0.0  # by our clock, when the socket was last seen empty
    offset: float = 0.0  # of the wall clock against ours, then
    _refused: int = 0
    _told: int = 0  # the same by SO_RXQ_OVFL
    _overflows: int = 0
    _interfaces: dict[int, str] = field(default_factory=dict)

    def begin(self, now: float) -> None:
        """Take the kernel's counters as they are for nothing."""
        self.empty_at, self.offset = now, time.time() - now
        self._refused = self._told = udp.refused(self.sock) or 0
        self._overflows = udp.overflows(self.sock.family) or 0

    def read(self, now: Callable[[], float]) -> list[Datagram]:
        """All that waits, but no more than `BATCH`; the same from the same address is counted together.

        Raises:
            OSError: the socket is broken.
        """
        waited: list[Received] = []
        empty = False
        for _ in range(BATCH):
            try:
                # One byte more than a message may have: cut ones are told from whole ones.
                waited.append(self.sock.recvmsg(SIZE_MAX + 1, ANCILLARY))
            except BlockingIOError:
                empty = True
                break
        moment, wall = now(), time.time()
        age = self._age(waited[0][1], moment, wall) if waited else 0.0
        if age < OLD_SECONDS:
            batch = self._together(waited, age)
        else:
            batch = [self._datagram(received, self._age(received[1], moment, wall)) for received in waited]
        if empty:
            self.empty_at, self.offset = moment, wall - moment
        self.received += len(waited)
        if waited:
            self._told = udp.told(waited[-1][1], self._told)
        return batch

    def count(self) -> None:
        """Bring the counters of what the kernel dropped up to date.

        The kernel has one count of both what the filter refused and what had no room. Of these, at most as
        many had no room as all UDP sockets together lost.
        """
        refused, overflows = udp.refused(self.sock), udp.overflows(self.sock.family)
        if refused is None:
            refused = self._told
        more = (refused - self._refused) % 2**32
        self._refused = refused
        lost = more
        if overflows is not None:
            lost = min(more, overflows - self._overflows)
            self._overflows = overflows
        self.dropped += lost
        self.junk += more - lost
        self._interfaces.clear()  # an index may name another interface by now

    def _together(self, waited: list[Received], age: float) -> list[Datagram]:
        if self.hints:
            return [self._datagram(received, age) for received in waited]
        counts: dict[tuple[bytes, str], int] = {}
        for data, _, _, sender in waited:
            key = (data, sender[0])
            counts[key] = counts.get(key, 0) + 1
        return [Datagram(data, address, None, None, age, count) for (data, address), count in counts.items()]

    def _datagram(self, received: Received, age: float) -> Datagram:
        data, ancillary, _, sender = received
        interface, ttl = self._arrival(ancillary)
        return Datagram(data, sender[0], interface, ttl, age)

    def _age(self, ancillary: Ancillary, moment: float, wall: float) -> float:
        """How old a datagram is, or may be."""
        bound = max(0.0, moment - self.empty_at)
        if abs(wall - moment - self.offset) > STEP_SECONDS:
            return bound
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, udp.SO_TIMESTAMPNS) and len(data) == TIMESPEC.size:
                seconds, nanoseconds = TIMESPEC.unpack(data)
                return float(min(bound, max(0.0, wall - seconds - nanoseconds / 1e9)))
        return bound

    def _arrival(self, ancillary: Ancillary) -> tuple[str | None, int | None]:
        interface, ttl = None, None
        for level, kind, data in ancillary:
            match level, kind:
                case (socket.IPPROTO_IP, udp.IP_PKTINFO):
                    interface = self._interface(int.from_bytes(data[:4], sys.byteorder))
                case (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                    interface = self._interface(int.from_bytes(data[16:20], sys.byteorder))
                case (socket.IPPROTO_IP, socket.IP_TTL) | (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT):
                    ttl = int.from_bytes(data[:4], sys.byteorder)
        return interface, ttl

    def _interface(self, index: int) -> str | None:
        name = self._interfaces.get(index)
        if name is None:
            try:
                name = self._interfaces[index] = socket.if_indextoname(index)
            except OSError:
                return None  # gone meanwhile
        return name


async def listen(
    ear: Ear,
    now: Callable[[], float],
    take: Callable[[list[Datagram]], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Give all datagrams of a socket to ``take``, for ever."""
    ear.begin(now())
    task_status.started()
    looked = trio.current_time()
    while True:
        with trio.move_on_after(LOOK_SECONDS):
            await trio.lowlevel.wait_readable(ear.sock)
        try:
            batch = ear.read(now)
            ear.problem = None
        except OSError as error:
            ear.problem = f"UDP {udp.bound(ear.sock)} cannot be read: {error.strerror}"
            await trio.sleep(LOOK_SECONDS)
            continue
        if batch:
            take(batch)
        if trio.current_time() - looked >= LOOK_SECONDS:
            looked = trio.current_time()
            ear.count()
