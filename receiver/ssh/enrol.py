"""`propagate`: a client that logged in with a token leaves its public key."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from receiver.events import KeyEnrolled, LoginRefused
from receiver.failure import Failure
from receiver.hosts.identity import Identity
from receiver.ssh.door import Door
from receiver.ssh.input import Input

KEYS_MAX: Final = 64 << 10  # bytes of public keys


async def enrol(door: Door, identity: Identity, source: Input, complain: Callable[[str], None]) -> int:
    """Store the keys that come on standard input; the installer's exit status."""
    lines = b""
    while data := await source.next():
        lines += data
        if len(lines) > KEYS_MAX:
            complain("kdump-receiver: too many keys at once\n")
            return 1
    return await store(door, identity, lines, complain)


async def store(door: Door, identity: Identity, lines: bytes, complain: Callable[[str], None]) -> int:
    """Store the public keys of `lines` for the token's host."""
    try:
        enrolled = await door.off_loop(
            lambda: door.tokens.enrol(identity.detail, lines, identity.peer, time.time())
        )
    except Failure as failure:
        complain(f"kdump-receiver: {failure}\n")
        door.bus.tell(LoginRefused(identity.peer, identity.host, "token", str(failure)))
        return 1
    for host in enrolled:
        door.bus.tell(KeyEnrolled(host.name, identity.peer, identity.detail, host.detail))
        complain(f"kdump-receiver: this key is now {host.name}'s\n")
    return 0
