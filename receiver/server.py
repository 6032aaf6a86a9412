"""One serving process: the stores, the door, and what goes on behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from receiver import reports, stores
from receiver.aftercare import Aftercare
from receiver.analysis import runner
from receiver.catalogue.writer import JournalWriter
from receiver.events import (
    Bus,
    Event,
    GroupAppeared,
    HostKeyChanged,
    LoginAccepted,
    Stopping,
    Tidied,
    Trouble,
    line,
)
from receiver.hosts import certificates, hostkeys
from receiver.hosts.contacts import Contact, Contacts
from receiver.hosts.keys import HostKeys
from receiver.hosts.limits import PasswordLimits
from receiver.hosts.tokens import Tokens
from receiver.pruner import Pruner
from receiver.settings import Settings
from receiver.spool.clock import iso
from receiver.spool.manifest import RECEIVING, Manifest
from receiver.ssh.door import Door
from receiver.ssh.listen import listen
from receiver.stores import open_catalogue, open_spool
from receiver.triage import overrides

THREADS: Final = 16  # disk work at once
CUT_SECONDS: Final = 30  # that storing a cut upload may take
CATCH_UP_SECONDS: Final = 60.0  # between two looks for dumps that are not listed
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
        self._writer = JournalWriter(
            self._catalogue.journal, self._bus.tell, settings.events_keep, settings.events_days * 86_400
        )
        self._bus.subscribe(self._writer.hear)
        self._pruner = Pruner(settings, self._spool, self._catalogue, self._bus)
        self._ending = threading.Event()
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="disk")
        self._contacts = Contacts(settings.state)
        self._bus.subscribe(self._remember)

    async def serve(self, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT.

        Calls `ready` when clients may come, and `beat` over and over while the loop turns.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        aftercare = self._aftercare()
        keys = hostkeys.load(self._settings.state)
        authorities = authorities_of(self._settings)
        for change in hostkeys.changes(self._settings.state, keys, authorities):
            self._bus.tell(HostKeyChanged(change.what, change.before, change.now))
        door = Door(
            settings=self._settings,
            spool=self._spool,
            admission=self._pruner.admission,
            bus=self._bus,
            hosts=HostKeys(self._settings.state),
            tokens=Tokens(self._settings.state),
            passwords=PasswordLimits(),
            authorities=authorities,
            executor=self._executor,
            record=self._record,
            stored=lambda stored: aftercare.take(stored.dump.directory, stored.file),
        )
        acceptors = [await listen(door, keys, sock) for sock in self._sockets]
        ready()
        chores = [loop.create_task(chore) for chore in (_beat(beat), self._catch_up(door))]
        if self._first:
            chores.append(loop.create_task(self._recover(door, aftercare)))
            chores.append(loop.create_task(self._prune(door)))
        await stop.wait()
        self._ending.set()
        for acceptor in acceptors:
            acceptor.close()
        await self._drain(door)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        self._executor.shutdown()
        aftercare.end()
        self._writer.close()
        self._catalogue.close()

    def _aftercare(self) -> Aftercare:
        return Aftercare(
            self._spool,
            self._settings,
            overrides.load(self._settings.overrides) if self._settings.overrides else overrides.NONE,
            self._bus,
            self._record,
            reported=self._pruner.after_report,
            analyses=self._settings.analysis and runner.available(),
        )

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

    async def _recover(self, door: Door, aftercare: Aftercare) -> None:
        """The first worker sees to what earlier processes left."""

        def work() -> None:
            for mended in stores.mend(self._spool, self._catalogue, time.time(), self._tell_trouble):
                for file in mended.tidied:
                    self._bus.tell(Tidied(mended.dump.directory, file.name, file.bytes, file.verdict))
                if self._ending.is_set():
                    return
            for dump in list(self._catalogue.find_unfinished()):
                for file in dump.files:
                    if file.sha256 is None or (dump.crash_class is None and reports.may_hold_log(file)):
                        aftercare.take(dump.directory, file, old=True)

        try:
            await door.off_loop(work)
        except Exception as error:
            self._bus.tell(Trouble("recovery", repr(error)))

    def _record(self, dump: Manifest) -> None:
        receiving = dump.verdict == RECEIVING
        for event in stores.enlist(self._spool, self._catalogue, dump.directory, receiving=receiving):
            if isinstance(event, GroupAppeared):
                self._bus.tell(event)

    def _tell_trouble(self, path: Path, error: Exception) -> None:
        self._bus.tell(Trouble(str(path), str(error) or repr(error)))

    def _remember(self, event: Event) -> None:
        """When each host was last here. A token's bearer is nobody yet."""
        if isinstance(event, LoginAccepted) and event.how != "token" and not self._ending.is_set():
            contact = Contact(event.host, event.peer, iso(time.time()), event.how)
            self._executor.submit(self._note, contact)

    def _note(self, contact: Contact) -> None:
        with contextlib.suppress(OSError):  # a full disk, say; the login does not need it
            self._contacts.note(contact)

    async def _catch_up(self, door: Door) -> None:
        """List what a catalogue that was away missed."""
        while True:
            await asyncio.sleep(CATCH_UP_SECONDS)
            with contextlib.suppress(Exception):  # still away; each dump's own trouble was told
                await door.off_loop(partial(stores.catch_up, self._spool, self._catalogue))

    async def _prune(self, door: Door) -> None:
        """Of several processes the first one looks, every now and then, what retention has to do."""
        while True:
            await asyncio.sleep(self._settings.prune_seconds)
            try:
                await door.off_loop(partial(self._pruner.run, self._ending.is_set))
            except Exception as error:
                self._bus.tell(Trouble("retention", repr(error)))


def authorities_of(settings: Settings) -> certificates.Authorities | None:
    """The CAs of `user_ca`, if it names a file. Raises AuthorityError."""
    if settings.user_ca is None:
        return None
    return certificates.load(settings.user_ca, sha1=settings.legacy_algorithms)


async def _beat(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(BEAT_SECONDS)


def log_event(event: Event) -> None:
    log.log(event.level, "%s", line(event))
