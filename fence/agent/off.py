"""``off``: success as soon as the node is proven to be in its capture kernel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fence.agent import ask, daemons, listen
from fence.agent.options import FAILED, OK
from fence.pair.flags import BadValue

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from fence.agent.daemons import Daemon
    from fence.agent.options import Request
    from fence.pair.say import Voice

PORT_RETRY_SECONDS = 0.2


def off(request: Request, voice: Voice) -> int:
    """Exit status 0 for a node that is dumping, 1 for one of which nothing was heard in time."""
    if not request.wanted:
        raise BadValue("action 'off' requires nodename")
    asked = daemons.configured(request)
    time.sleep(request.delay)
    deadline = time.monotonic() + request.timeout
    if asked:
        return _off_by_daemons(request, asked, voice, deadline)
    return _off_by_listening(request, voice, deadline)


def _off_by_daemons(request: Request, asked: Sequence[Daemon], voice: Voice, deadline: float) -> int:
    voice.debug(f"waiting for message from '{request.wanted[0]}'")
    proof = ask.is_off(asked, request.wanted, request.grade, voice, deadline)
    if proof:
        voice.debug(f"received valid message from '{proof.node}': {proof.reason} ({proof.daemon.label})")
        return OK
    return _timeout(request, voice, deadline)


def _off_by_listening(request: Request, voice: Voice, deadline: float) -> int:
    known = listen.addresses_of(request, voice)
    if not known:
        return FAILED
    sockets = _hold_port(request, {address.family for address in known}, voice, deadline)
    if sockets is None:
        return _off_by_daemons(request, daemons.at_default_socket(), voice, deadline)
    for address in known:
        voice.debug(f"waiting for message from '{address}'")
    sender = listen.hear(sockets, known, voice, deadline)
    listen.close_all(sockets)
    if sender:
        voice.debug(f"received valid message from '{sender}'")
        return OK
    return _timeout(request, voice, deadline)


def _hold_port(
    request: Request, families: set[int], voice: Voice, deadline: float
) -> list[socket.socket] | None:
    """The bound sockets; None where the port stays taken, or a daemon is there that can be asked instead."""
    said = False
    while True:
        try:
            return listen.open_sockets(families, request.ipport)
        except listen.PortTaken as holder:
            asked = daemons.at_default_socket()
            if not said:
                then = f"asking {asked[0].label}" if asked else "waiting for it"
                voice.error(f"{holder}; {then}")
            said = True
            if asked or time.monotonic() + PORT_RETRY_SECONDS > deadline:
                return None
            time.sleep(PORT_RETRY_SECONDS)


def _timeout(request: Request, voice: Voice, deadline: float) -> int:
    if time.monotonic() >= deadline - ask.MARGIN_SECONDS:
        voice.debug(f"timeout after {request.timeout} seconds")
    return FAILED
