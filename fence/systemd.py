"""Tells systemd how we are: sd_notify(3) and the watchdog, a datagram each."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(*states: str) -> None:
    """Say ``READY=1`` and the like; nothing where systemd did not ask for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto("\n".join(states).encode(), address)


def watchdog_seconds() -> float | None:
    """How often ``WATCHDOG=1`` is due, or None: half of what systemd waits for (sd_watchdog_enabled(3))."""
    with suppress(ValueError):
        usec = int(os.environ.get("WATCHDOG_USEC", ""))
        if usec > 0 and int(os.environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid():
            return usec / 2_000_000
    return None
