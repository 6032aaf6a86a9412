"""``fence_kdump_send``: reads what to send, and sends it until it is killed or has sent enough."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from fence.message import NODE_NAME
from fence.pair import flags
from fence.pair.say import Voice, put
from fence.send import options
from fence.send.beat import Host, datagram, times
from fence.send.deliver import Delivery
from fence.send.options import USAGE, Order

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def main() -> int:
    """Run the sender on sys.argv; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as C: no traceback
    program, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    if program == "__main__.py":  # python -m fence.send
        program = "fence_kdump_send"
    usage = USAGE.format(program=program)
    try:
        order = options.from_words(sys.argv[0], words)
        host = this_host(order)
    except flags.BadFlag as error:
        put(2, f"{error}\n")
        put(1, usage)
        return 1
    except flags.BadValue as error:
        put(2, f"[error]: {error}\n")
        return 1
    if order.stop:
        put(1, usage if order.stop == "help" else f"{program} {_version()}\n")
        return 0
    if not order.nodes or not _run(order, host):
        put(1, usage)
        return 1
    return 0


def this_host(order: Order) -> Host:
    """Who we are, for the extension.

    Raises:
        flags.BadValue: the name to be sent is none.
    """
    node = order.node or os.uname().nodename
    if order.extended and not NODE_NAME.fullmatch(node.encode(errors="surrogateescape")):
        raise flags.BadValue(f"invalid node '{node}': 1 to 64 letters, digits and . _ : - are allowed")
    return Host(node, bytes.fromhex(BOOT_ID.read_text("ascii").replace("-", "")))


def _run(order: Order, host: Host) -> bool:
    """Send all beats; False where no node could ever be found."""
    voice = Voice(order.verbose)
    for complaint in order.complaints:
        voice.error(complaint)
    clock = Clock()
    delivery = Delivery(
        order.nodes, order.ipport, order.family, lambda: datagram(order, host, *clock.read()), voice
    )
    start = time.monotonic()
    delivery.start(again_seconds=order.interval)
    for at in times(order.beats, order.interval):
        delivery.run_until(start + at)
        delivery.beat()
    delivery.finish()
    return delivery.resolved


class Clock:
    """Milliseconds since this kernel's boot, which grow from reading to reading, and since 1970."""

    def __init__(self) -> None:
        self.last = 0

    def read(self) -> tuple[int, int]:
        """SEQUENCE and TIME of a beat made now."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        self.last = max(now, self.last + 1)
        return self.last, time.time_ns() // 1_000_000


def _version() -> str:
    from importlib import metadata as installed  # 30 ms, for those who ask

    try:
        return f"{installed.version('kdump-net')} (kdump-net)"
    except installed.PackageNotFoundError:
        return "(kdump-net)"
