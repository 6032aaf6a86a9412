"""One serving process: the stores, the door, and what goes on behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from receiver import reports
from receiver.events import Bus, Event, HostKeyChanged, Reported, Stopping, Tidied, Trouble, line
from receiver.hosts import certificates, hostkeys
from receiver.hosts.keys import HostKeys
from receiver.hosts.limits import PasswordLimits
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool import recovery
from receiver.spool.clock import iso
from receiver.spool.hashing import with_digest
from receiver.spool.manifest import StoredFile
from receiver.spool.space import Limits
from receiver.ssh.door import Door
from receiver.ssh.listen import listen
from receiver.stores import open_catalogue, open_spool

THREADS: Final = 16  # disk work at once
CUT_SECONDS: Final = 30  # that storing a cut upload may take
BEAT_SECONDS: Final = 2.0  # between two signs of life
log = logging.getLogger("kdump-receiver")


class Server:
    """One serving process."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], *, first: bool = True) -> None:
        self._settings = settings
        self._sockets = sockets
        self._first = first  # of the workers: it looks after what earlier processes left
        self._spool = open_spool(settings)
        self._catalogue = open_catalogue(settings)
        self._bus = Bus()
        self._bus.subscribe(log_event)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="disk")

    async def serve(self, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT.

        Calls `ready` when clients may come, and `beat` over and over while the loop turns.
        """
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
        ready()
        chores = [loop.create_task(_beat(beat)), loop.create_task(self._background(door))]
        await stop.wait()
        for acceptor in acceptors:
            acceptor.close()
        await self._drain(door)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
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

    async def _background(self, door: Door) -> None:
        """First what earlier processes left; then the hashes that no client waits for."""
        if self._first:
            try:
                await door.off_loop(self._recover)
            except Exception as error:
                self._bus.tell(Trouble("recovery", repr(error)))
        while True:
            stored = await door.stored.get()
            try:
                await door.off_loop(partial(self._look_after, stored.dump.directory, stored.file))
            except Exception as error:
                self._bus.tell(Trouble("aftercare", f"{stored.dump.directory}/{stored.file.name}: {error!r}"))

    def _look_after(self, directory: str, file: StoredFile) -> None:
        """What no client waits for: first the answer that people wait for, then the hash."""
        if reports.may_hold_log(file):
            dump = reports.write(self._spool, directory, iso(time.time()))
            self._catalogue.record(dump)
            self._bus.tell(Reported(dump.host, dump.id, dump.crash_class or "none", dump.title or ""))
        if file.sha256 is None:
            self._catalogue.record(with_digest(self._spool, directory, file.name))

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

        for dump in list(self._catalogue.find_unfinished()):
            for file in dump.files:
                if file.sha256 is None or (dump.crash_class is None and reports.may_hold_log(file)):
                    self._look_after(dump.directory, file)


async def _beat(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(BEAT_SECONDS)


def log_event(event: Event) -> None:
    log.log(event.level, "%s", line(event))
