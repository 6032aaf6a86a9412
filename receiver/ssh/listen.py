"""The listening socket and its options."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

import asyncssh

from receiver.ssh.algorithms import LEGACY, MODERN
from receiver.ssh.connection import Connection
from receiver.ssh.door import Door
from receiver.ssh.login import Login

# Clients change their ways by this text: `dropbear*` and `NetScreen*` turn ssh-copy-id aside.
VERSION: Final = "kdump-receiver_0.1"
KEEPALIVES: Final = 4  # unanswered ones that end a connection
BACKLOG: Final = 512


async def listen(door: Door, host_keys: Sequence[asyncssh.SSHKey], sock: socket.socket) -> asyncio.Server:
    """Serve the door on `sock`, a bound stream socket."""
    settings = door.settings
    algorithms = LEGACY if settings.legacy_algorithms else MODERN
    options = await asyncssh.SSHServerConnectionOptions.construct(
        server_factory=lambda: Login(door),
        server_version=VERSION,
        server_host_keys=list(host_keys),
        authorized_client_keys=None,
        kex_algs=algorithms.kex,
        encryption_algs=algorithms.encryption,
        mac_algs=algorithms.mac,
        compression_algs=("none",),
        kbdint_auth=False,
        host_based_auth=False,
        gss_kex=False,
        gss_auth=False,
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        rekey_bytes=64 << 30,
        login_timeout=settings.login_seconds,
        keepalive_interval=settings.silence_seconds / KEEPALIVES,
        keepalive_count_max=KEEPALIVES,
        encoding=None,
        config=None,
    )
    if not algorithms.sha1_signatures:
        options.server_host_keys.pop(b"ssh-rsa", None)
    options.proxy_command = None
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(loop, options, algorithms), sock=sock, backlog=BACKLOG)
