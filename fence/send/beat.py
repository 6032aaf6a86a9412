"""What is said, and when: the bytes of one beat, and the times of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fence.message import PLAIN, Message, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fence.send.options import Order


@dataclass(frozen=True, slots=True)
class Host:
    """Who sends: its name, and the boot of the kernel it runs (/proc/sys/kernel/random/boot_id)."""

    node: str
    session: bytes


def datagram(order: Order, host: Host, sequence: int, time: int) -> bytes:
    """One beat made at ``sequence`` ms since the kernel's boot, ``time`` ms since 1970.

    Raises:
        ValueError: the node's name cannot be sent.
    """
    if not order.extended:
        return encode(PLAIN)
    message = Message(
        drill=order.test,
        node=order.node or host.node,
        session=host.session,
        sequence=sequence,
        phase=order.phase,
        progress=order.progress,
        time=time,
    )
    return encode(message, order.key)


def times(count: int, interval: int) -> Iterator[int]:
    """Seconds from the start at which to send: 0, i, 2i, … as the C sender, ``count`` of them (0: for ever).

    Before the second one come 1, 2, 4, 8 s, which do not count: a capture kernel's network is late, and
    the first datagram after a link is up is the one that a switch most likely drops.
    """
    yield 0
    beats, burst = 1, 1
    while count == 0 or beats < count:
        while burst < interval and beats == 1:
            yield burst
            burst *= 2
        yield beats * interval
        beats += 1
