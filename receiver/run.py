"""The composition root: settings become a running server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from receiver import serving, systemd
from receiver.events import Bus, Listening, Trouble
from receiver.failure import Failure
from receiver.hosts import hostkeys
from receiver.hosts.keys import HostKeys
from receiver.server import Server, authorities_of, log_event
from receiver.settings import Settings
from receiver.stores import open_catalogue, open_spool
from receiver.vitals import Vitals
from receiver.web.access.machine import is_loopback
from receiver.workers import Job, Workers

DESK: Final = "the desk"  # what the log calls the process of page and API
BACKLOG: Final = 128  # connections to the web that wait to be taken


class ListenError(Failure):
    """The address cannot be had."""

    exit_code = 71  # EX_OSERR


class Exposed(Failure):
    """The web would be open to other machines without TLS."""

    exit_code = 78  # EX_CONFIG


def bind(address: str, instead: str = "another --listen HOST:PORT") -> list[socket.socket]:
    """Stream sockets bound to ``HOST:PORT``, ``[V6]:PORT``, or ``:PORT`` (all addresses, IPv4 and IPv6).

    `instead` is what the operator may say when that address cannot be had.

    Raises:
        ListenError: no such address, taken, or not allowed.
    """
    host, _, port = address.rpartition(":")
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, (name, number, *more) in found if not host else found[:1]:
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Port 0 is chosen for the first; the others take the same.
            taken = number if sock is sockets[0] else sockets[0].getsockname()[1]
            sock.bind((name, taken, *more))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"cannot listen on {address}: {reason}; say {instead}") from None
    return sockets


def bind_web(settings: Settings) -> list[socket.socket]:
    """The web's sockets, listening: whoever else wants the address is told so at once.

    Raises:
        ListenError: as `bind`.
        Exposed: other machines could come, and there is neither TLS nor a proxy that has it.
    """
    instead = "another --web HOST:PORT, or --web '' for no page"
    sockets = bind(settings.web, instead) if settings.web else []
    safe = settings.behind_proxy or settings.web_tls_certificate is not None
    if not safe and not is_at_home(sockets):
        raise Exposed(
            f"web = {settings.web!r} is open to other machines, without TLS: name web_tls_certificate and "
            "web_tls_key in the settings, or say behind_proxy = true where a proxy in front has TLS"
        )
    for sock in sockets:
        try:
            sock.listen(BACKLOG)
        except OSError as error:
            raise ListenError(f"cannot listen on {name_of(sock)}: {error.strerror}; say {instead}") from None
    return sockets


def is_at_home(sockets: list[socket.socket]) -> bool:
    """Whether only this machine can come to `sockets`."""
    return all(is_loopback(sock.getsockname()[0]) for sock in sockets)


def name_of(sock: socket.socket) -> str:
    """``HOST:PORT`` of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def set_up_logging() -> None:
    """One line an event on standard error; the journal adds the time, a terminal gets it here."""
    handler = logging.StreamHandler(sys.stderr)
    form = "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(message)s"
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # warns of every client that left before our answer
    logging.getLogger("hypercorn.error").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Bound:
    """The sockets of one server, and how they are called."""

    ssh: list[socket.socket]
    web: list[socket.socket]
    addresses: tuple[str, ...]  # HOST:PORT of each of `ssh`
    url: str | None  # of the web; None: there is none


def _bind(settings: Settings, listen_on: tuple[str, ...]) -> Bound:
    """Everything that has to be ours before any worker runs, so that what cannot work is said once."""
    ssh = systemd.listening_sockets()
    if not ssh:
        ssh = [sock for address in listen_on or settings.listen for sock in bind(address)]
    web = bind_web(settings)
    scheme = "http"
    if settings.web_tls_certificate is not None:
        from receiver.web.serve import tls_of

        scheme = "https"
        tls_of(settings.web_tls_certificate, settings.web_tls_key)
    open_spool(settings)
    open_catalogue(settings).close()
    hostkeys.load(settings.state)
    authorities_of(settings)
    url = f"{scheme}://{name_of(web[0])}" if web else None
    return Bound(ssh, web, tuple(name_of(sock) for sock in ssh), url)


def serve(settings: Settings, listen_on: tuple[str, ...]) -> int:
    """Serve until told to stop; the exit status."""
    set_up_logging()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket and a file for each upload
    bus = Bus()
    bus.subscribe(log_event)
    bound = _bind(settings, listen_on)
    vitals = Vitals(settings.workers + 1)
    sign = serving.Sign(settings.state)
    any_died = False  # then the one that takes the place looks after what the dead one left

    def died(name: str, status: int) -> None:
        nonlocal any_died
        any_died = any_died or name != DESK
        bus.tell(Trouble("workers", f"{name} ended with status {status}; another one takes its place"))

    def work(number: int, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        for sock in bound.web:
            sock.close()
        server = Server(settings, bound.ssh, vitals, number, first=number == 0 or any_died)
        asyncio.run(server.serve(ready, beat))

    ready = partial(_tell_ready, settings, bound, bus, sign)
    jobs = [Job(f"worker {number}", partial(work, number)) for number in range(settings.workers)]
    if bound.web or settings.notify:
        jobs.append(Job(DESK, partial(_attend, settings, bound, vitals), vital=False))
    try:
        if len(jobs) == 1:
            work(0, ready, _beat)
            return 0
        return Workers(jobs, died).supervise(ready, _beat)
    finally:
        systemd.notify("STOPPING=1")


def _attend(
    settings: Settings, bound: Bound, vitals: Vitals, ready: Callable[[], None], beat: Callable[[], None]
) -> None:
    from receiver import desk  # those who receive need not carry it

    for sock in bound.ssh:
        sock.close()
    place = desk.Place(
        settings=settings,
        sockets=bound.web,
        loopback=is_at_home(bound.web),
        ssh=bound.addresses,
        vitals=vitals,
        log=log_event,
    )
    asyncio.run(desk.serve(place, ready, beat))


def _tell_ready(settings: Settings, bound: Bound, bus: Bus, sign: serving.Sign) -> None:
    bus.tell(Listening(" ".join(bound.addresses), bound.url or ""))
    told = {"ssh": bound.addresses[0]} | ({} if bound.url is None else {"web": bound.url})
    sign.tell(told)
    print(json.dumps({"event": "listening"} | told), flush=True)
    systemd.notify("READY=1")
    if HostKeys(settings.state).is_empty():
        steps = _FIRST_STEPS.format(port=bound.addresses[0].rpartition(":")[2])
        page = "" if bound.url is None else f"  {bound.url:<45} shows them, and how to let hosts in\n"
        print(steps + page, file=sys.stderr, flush=True)


_FIRST_STEPS = """
Nobody may send dumps here yet. In another terminal, with the same --config or --root:
  kdump-receiver host add web01 --key web01.pub      a host whose public key you have, or
  kdump-receiver token create --host web01           a password for its own `kdumpctl propagate`
  ssh -p {port} kdump@THIS-HOST df -P /var/crash        then, on that host, answers with the free space
  kdump-receiver                                     lists the dumps
"""


def _beat() -> None:
    if systemd.watchdog_seconds() is not None:
        systemd.notify("WATCHDOG=1")
