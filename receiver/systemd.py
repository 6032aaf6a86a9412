"""What systemd wants to hear, and the sockets it hands over.

Source: sd_notify(3) and sd_listen_fds(3). A few lines of our own, since the protocol
is one datagram and the maintained binding needs a C compiler.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

FIRST_FD: Final = 3  # SD_LISTEN_FDS_START


def notify(state: str) -> None:
    """Tell the service manager, where there is one: ``READY=1``, ``STOPPING=1``, ``WATCHDOG=1``."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    where = "\0" + address[1:] if address.startswith("@") else address
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    with sock, contextlib.suppress(OSError):  # the manager went away; nothing here depends on it
        sock.sendto(state.encode(), where)


def watchdog_seconds() -> float | None:
    """How often systemd wants a sign of life, halved as sd_watchdog_enabled(3) advises."""
    usec = os.environ.get("WATCHDOG_USEC")
    pid = os.environ.get("WATCHDOG_PID")
    if not usec or (pid and int(pid) != os.getpid()):
        return None
    return int(usec) / 2e6


def listening_sockets() -> list[socket.socket]:
    """The sockets that socket activation handed over."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + count)]
