"""What every connection shares: the spool, who may come in, where events go, the threads for slow work."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import asyncssh

from receiver.catalogue.news import finished
from receiver.events import Bus, Trouble, UploadFailed, UploadRefused, UploadStarted
from receiver.hosts.certificates import Authorities
from receiver.hosts.identity import Identity
from receiver.hosts.keys import HostKeys
from receiver.hosts.limits import PasswordLimits
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool.admission import Admission, NoRoom
from receiver.spool.dumps import Owner, Spool
from receiver.spool.manifest import RECEIVING, Manifest
from receiver.spool.view import View
from receiver.spool.writer import Broken, Stored, Upload
from receiver.ssh.feed import Feed
from receiver.wire.families import Banner, Observation
from receiver.wire.paths import ClientPath

T = TypeVar("T")

UPLOADS_OF_HOST: Final = 256  # under way at once, so that one host cannot take every open file


@dataclass
class Door:
    """One server process's state. The truth lies in files; this is only its way to them."""

    settings: Settings
    spool: Spool
    admission: Admission
    bus: Bus
    hosts: HostKeys
    tokens: Tokens
    passwords: PasswordLimits
    authorities: Authorities | None
    executor: Executor
    record: Callable[[Manifest], None]  # tells the catalogue; runs in a thread
    stored: Callable[[Stored], None]  # hears of each file, for what no client waits for; returns at once
    connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    peers: Counter[str] = field(default_factory=Counter)  # connections of each address
    uploads: set[Reception] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)  # no upload is under way

    def __post_init__(self) -> None:
        self.idle.set()

    def come(self, connection: asyncssh.SSHServerConnection, peer: str) -> bool:
        """One more connection; False where `peer` alone would keep too many of the others out."""
        if self.peers[peer] >= max(1, self.settings.max_connections // 2):
            return False
        self.connections.add(connection)
        self.peers[peer] += 1
        return True

    def gone(self, connection: asyncssh.SSHServerConnection, peer: str) -> None:
        """The connection is over, if it ever began."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.peers[peer] -= 1
            if not self.peers[peer]:
                del self.peers[peer]

    def begun(self, reception: Reception) -> None:
        """One more upload is under way."""
        self.uploads.add(reception)
        self.idle.clear()

    def ended(self, reception: Reception) -> None:
        """It is stored, or lost."""
        self.uploads.discard(reception)
        if not self.uploads:
            self.idle.set()

    def view(self, identity: Identity, heard: Sequence[Observation] = ()) -> View:
        """The spool as this client may use it; `heard` tells which kdump it is."""
        owner = Owner(identity.name, identity.how, identity.peer)
        return View(self.spool, owner, self.admission, heard=heard)

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Run blocking `work` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    def close_connections(self) -> None:
        """Cut every client; what its uploads brought is kept."""
        for connection in list(self.connections):
            connection.abort()

    def recorded(self, dump: Manifest) -> None:
        """Tell the catalogue; a catalogue that is away stops no dump: the spool is the truth."""
        try:
            self.record(dump)
        except Exception as error:
            self.bus.tell(Trouble("catalogue", f"{dump.directory} is stored but not listed yet: {error}"))


def banner(channel: asyncssh.SSHServerChannel[bytes]) -> Banner:
    """What the client's ssh says it is."""
    version: str = channel.get_extra_info("client_version", "")
    return Banner(version.removeprefix("SSH-2.0-"))


class Reception:
    """One file being received, by whatever protocol, from its first byte to its log line."""

    def __init__(self, door: Door, view: View, path: ClientPath, feed: Feed) -> None:
        self._door = door
        self._view = view
        self._path = path
        self._feed = feed
        self.push = feed.push

    @classmethod
    async def begin(
        cls,
        door: Door,
        view: View,
        path: ClientPath,
        tool: str,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        expected_bytes: int = 0,
    ) -> Reception:
        """Start it.

        Raises:
            OSError: as View.begin does; EMFILE where the host has too many under way.
        """
        if sum(other.host == view.owner.name for other in door.uploads) >= UPLOADS_OF_HOST:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        def work() -> Upload:
            try:
                upload = view.begin(path, tool, expected_bytes=expected_bytes)
            except NoRoom as error:
                owner = view.owner
                door.bus.tell(UploadRefused(owner.name, owner.peer, path.text, error.why))
                raise
            if not any(file.core for file in upload.dump.files):
                door.recorded(replace(upload.dump, verdict=RECEIVING))
            return upload

        upload = await door.off_loop(work)
        owner = view.owner
        door.bus.tell(UploadStarted(owner.name, owner.peer, upload.dump.directory, path.name, tool))
        reception = cls(door, view, path, Feed(upload, door.executor, pause, resume))
        door.begun(reception)
        return reception

    @property
    def host(self) -> str:
        """The identity that sends."""
        return self._view.owner.name

    @property
    def broken(self) -> asyncio.Future[Broken]:
        """Done when no more bytes are taken, with the reason."""
        return self._feed.broken

    async def finish(self, broken: str | None = None, *, then_move_to: ClientPath | None = None) -> Stored:
        """All bytes came, or no more will: store, list, log. Raises OSError when it cannot be stored."""
        try:
            names = [then_move_to.name] if then_move_to else []
            stored = await self._feed.finish(broken, requested=names)
            await self._door.off_loop(lambda: self._door.recorded(stored.dump))
        except OSError as error:
            self._tell_failure(str(error))
            raise
        except Exception as error:
            self._tell_failure(repr(error))
            raise
        finally:
            self._door.ended(self)
        self._door.stored(stored)
        self._tell(stored)
        return stored

    def _tell(self, stored: Stored) -> None:
        self._door.bus.tell(finished(stored.dump, stored.file))

    def _tell_failure(self, reason: str) -> None:
        owner = self._view.owner
        self._door.bus.tell(UploadFailed(owner.name, owner.peer, self._path.text, reason))
