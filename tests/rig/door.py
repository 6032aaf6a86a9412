"""The door inside the test's own event loop: what a real server would need processes for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from receiver.events import Bus, Event
from receiver.hosts.keys import HostKeys
from receiver.hosts.limits import PasswordLimits
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool.admission import Admission
from receiver.spool.dumps import Spool
from receiver.spool.space import Limits
from receiver.ssh.door import Door
from receiver.ssh.listen import listen

HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
KEY = asyncssh.generate_private_key("ssh-ed25519")


@dataclass
class OpenDoor:
    """A door that listens, one enrolled host `web01` with `KEY`, and all events so far."""

    door: Door
    port: int
    events: list[Event]

    def connect(
        self, key: asyncssh.SSHKey = KEY, **options: Any
    ) -> asyncssh.misc._ACMWrapper[asyncssh.SSHClientConnection]:
        """A client, as `async with`."""
        return asyncssh.connect(
            "127.0.0.1",
            self.port,
            username="kdump",
            client_keys=[key],
            known_hosts=None,
            config=None,
            agent_path=None,
            password="",
            **options,
        )

    def said(self, kind: type[Event]) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the door's own state, which tells nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def open_door(directory: Path, **settings: object) -> AsyncIterator[OpenDoor]:
    """A door on a spool below `directory`."""
    chosen = Settings.model_validate({"root": directory / "spool", "keep_free": 0} | settings)
    spool = Spool(chosen.root, chosen.state)
    events: list[Event] = []
    bus = Bus()
    bus.subscribe(events.append)
    hosts = HostKeys(chosen.state)
    hosts.add("web01", KEY.export_public_key().decode())
    with ThreadPoolExecutor(4) as executor:
        door = Door(
            settings=chosen,
            spool=spool,
            admission=Admission(spool, Limits(chosen.max_dump_bytes, chosen.keep_free)),
            bus=bus,
            hosts=hosts,
            tokens=Tokens(chosen.state),
            passwords=PasswordLimits(),
            authorities=None,
            executor=executor,
            record=lambda dump: None,
            stored=lambda stored: None,
        )
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        server = await listen(door, [HOST_KEY], sock)
        try:
            yield OpenDoor(door, sock.getsockname()[1], events)
        finally:
            server.close()
            door.close_connections()
            await asyncio.wait_for(door.idle.wait(), 30)
