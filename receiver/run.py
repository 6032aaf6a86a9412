"""The composition root: settings become a running server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from receiver import systemd
from receiver.catalogue.store import Catalogue
from receiver.events import Bus, Event, HostKeyChanged, Listening, Stopping, Tidied, Trouble, line
from receiver.failure import Failure
from receiver.hosts import certificates, hostkeys
from receiver.hosts.keys import HostKeys
from receiver.hosts.limits import PasswordLimits
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool import recovery
from receiver.spool.dumps import Spool
from receiver.spool.hashing import pending, with_digest
from receiver.spool.space import Limits
from receiver.ssh.door import Door
from receiver.ssh.listen import listen

THREADS: Final = 16  # disk work at once
CUT_SECONDS: Final = 30  # that storing a cut upload may take
log = logging.getLogger("kdump-receiver")


class ListenError(Failure):
    """The address cannot be had."""

    exit_code = 71  # EX_OSERR


def open_spool(settings: Settings) -> Spool:
    """The spool of the settings, its directories made."""
    try:
        return Spool(settings.root, settings.state)
    except OSError as error:
        raise Failure(
            f"{error.filename}: {error.strerror}; see `root` and `state_dir` in the settings"
        ) from None


def open_catalogue(settings: Settings) -> Catalogue:
    """The catalogue of the settings, its tables up to date."""
    return Catalogue(settings.catalogue_url, settings.state)


@contextmanager
def catalogue_of(settings: Settings) -> Iterator[Catalogue]:
    """The catalogue for one command."""
    with contextlib.closing(open_catalogue(settings)) as catalogue:
        yield catalogue


def rebuild(spool: Spool, catalogue: Catalogue, now: float) -> Iterable[str]:
    """Make the catalogue anew from the directories; gives each directory as it is taken."""
    taken = []
    for directory in spool.directories():
        dump = recovery.read_or_adopt(spool, directory, now)
        if dump is not None:
            recovery.bind_names(spool, dump)
            taken.append(dump)
            yield directory.name
    catalogue.replace_all(taken)


def bind(address: str) -> socket.socket:
    """A stream socket bound to ``HOST:PORT``, ``[V6]:PORT`` or ``:PORT`` (every address)."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        (family, kind, protocol, _, where), *_ = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"cannot listen on {address}: {reason}; say another --listen HOST:PORT") from None
    return sock


def name_of(sock: socket.socket) -> str:
    """``HOST:PORT`` of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server:
    """One serving process."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._spool = open_spool(settings)
        self._catalogue = open_catalogue(settings)
        self._bus = Bus()
        self._bus.subscribe(_log)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="disk")

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        keys = hostkeys.load(self._settings.state)
        authorities = certificates.load(self._settings.user_ca) if self._settings.user_ca else None
        for change in hostkeys.changes(self._settings.state, keys, authorities):
            self._bus.tell(HostKeyChanged(change.what, change.before, change.now))
        door = Door(
            settings=self._settings,
            spool=self._spool,
            limits=Limits(self._settings.max_dump_bytes, self._settings.keep_free),
            bus=self._bus,
            hosts=HostKeys(self._settings.state),
            tokens=Tokens(self._settings.state),
            passwords=PasswordLimits(),
            authorities=authorities,
            executor=self._executor,
            record=self._catalogue.record,
        )
        acceptors = [await listen(door, keys, sock) for sock in self._sockets]
        addresses = [name_of(sock) for sock in self._sockets]
        self._bus.tell(Listening(" ".join(addresses)))
        print(json.dumps({"event": "listening", "ssh": addresses[0]}), flush=True)
        systemd.notify("READY=1")
        chores = [loop.create_task(self._watchdog()), loop.create_task(self._background(door))]
        await stop.wait()
        systemd.notify("STOPPING=1")
        for acceptor in acceptors:
            acceptor.close()
        await self._drain(door)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        for acceptor in acceptors:
            await acceptor.wait_closed()
        self._executor.shutdown()
        self._catalogue.close()

    async def _drain(self, door: Door) -> None:
        """Let uploads under way end, for a while; then cut them, which keeps what came."""
        grace = self._settings.grace_seconds
        if door.uploads:
            self._bus.tell(Stopping(len(door.uploads), grace))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(door.idle.wait(), grace)
        door.close_connections()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(door.idle.wait(), CUT_SECONDS)

    async def _watchdog(self) -> None:
        seconds = systemd.watchdog_seconds()
        while seconds is not None:
            systemd.notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    async def _background(self, door: Door) -> None:
        """First what earlier processes left; then, over and over, the hashes that no client waits for."""
        await door.off_loop(self._recover)
        while True:
            try:
                await door.off_loop(self._hash_pending)
            except Exception as error:
                self._bus.tell(Trouble("hashing", str(error)))
            await door.wait_for_news()

    def _recover(self) -> None:
        now = time.time()
        for dump, file in recovery.tidy(self._spool, now):
            self._catalogue.record(dump)
            self._bus.tell(Tidied(dump.directory, file.name, file.bytes, file.verdict))
        known = self._catalogue.known()
        for directory in self._spool.directories():
            found = recovery.read_or_adopt(self._spool, directory, now)
            if found is not None and known.get(directory.name) != recovery.document(found):
                recovery.bind_names(self._spool, found)
                self._catalogue.record(found)

    def _hash_pending(self) -> None:
        for dump in list(self._catalogue.find_unhashed()):
            for name in pending(dump):
                self._catalogue.record(with_digest(self._spool, dump.directory, name))


def _log(event: Event) -> None:
    log.log(event.level, "%s", line(event))


def set_up_logging() -> None:
    """One line an event on standard error; the journal adds the time, a terminal gets it here."""
    handler = logging.StreamHandler(sys.stderr)
    form = "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(message)s"
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def serve(settings: Settings, listen_on: tuple[str, ...]) -> None:
    """Serve until told to stop."""
    set_up_logging()
    sockets = systemd.listening_sockets() or [bind(address) for address in listen_on or settings.listen]
    server = Server(settings, sockets)
    try:
        import uvloop
    except ImportError:
        asyncio.run(server.serve())
    else:
        uvloop.run(server.serve())
