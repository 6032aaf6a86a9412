"""The desk: one process beside those that receive, which answers people and programs.

Nothing here is in an upload's way: it reads the stores that the others write, and when it dies or
hangs the supervisor starts another one.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from receiver.catalogue.writer import JournalWriter
from receiver.events import Bus, Subscriber, Trouble
from receiver.hosts.keys import HostKeys
from receiver.hosts.tokens import Tokens
from receiver.notify.run import run
from receiver.settings import Settings
from receiver.stores import open_catalogue, open_spool
from receiver.vitals import Beat, Vitals
from receiver.web.access.logins import Logins
from receiver.web.access.sessions import Sessions
from receiver.web.app import application
from receiver.web.desk import Desk
from receiver.web.metrics import Metrics
from receiver.web.serve import Http, tls_of

BEAT_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 5.0  # after the notifier failed
COUNT_SECONDS: Final = 30.0  # between two looks at the journal that nobody asked for


@dataclass(frozen=True, slots=True)
class Place:
    """Where the desk works: its settings, the sockets of the web, and what the other processes show."""

    settings: Settings
    sockets: list[socket.socket]
    loopback: bool
    ssh: tuple[str, ...]
    vitals: Vitals
    log: Subscriber


async def serve(place: Place, ready: Callable[[], None], beat: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT; calls `ready` when it answers, and `beat` while its loop turns."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings = place.settings
    bus = Bus()
    bus.subscribe(place.log)
    catalogue = open_catalogue(settings)
    writer = JournalWriter(catalogue.journal, bus.tell, settings.events_keep, settings.events_days * 86_400)
    bus.subscribe(writer.hear)
    desk = Desk(
        settings=settings,
        spool=open_spool(settings),
        catalogue=catalogue,
        journal=catalogue.journal,
        keys=HostKeys(settings.state),
        tokens=Tokens(settings.state),
        logins=Logins(settings.state),
        sessions=Sessions(settings.state),
        bus=bus,
        vitals=place.vitals,
        ssh=place.ssh,
        loopback=place.loopback,
    )
    metrics = await asyncio.to_thread(Metrics, desk)
    http = Http(application(desk, metrics), tls_of(settings.web_tls_certificate, settings.web_tls_key))
    await http.listen(place.sockets)
    ready()
    chores = [loop.create_task(_beat(place.vitals, http, beat)), loop.create_task(_count(metrics))]
    chores.append(loop.create_task(_notify(desk)))
    try:
        await stop.wait()
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await http.close()
        await asyncio.to_thread(metrics.keep_up)
        writer.close()
        catalogue.close()


async def _beat(vitals: Vitals, http: Http, beat: Callable[[], None]) -> None:
    pulse = Beat(vitals, vitals.places - 1, time.monotonic(), BEAT_SECONDS)
    while True:
        pulse.beat(time.monotonic(), http.connections, 0)
        beat()
        await asyncio.sleep(BEAT_SECONDS)


async def _notify(desk: Desk) -> None:
    """Tell those whom the settings name; what goes wrong there stops no page."""
    while desk.settings.notify:
        try:
            await run(desk.settings, desk.catalogue, desk.spool, desk.bus.tell)
        except Exception as error:
            desk.bus.tell(Trouble("notify", repr(error)))
        await asyncio.sleep(AGAIN_SECONDS)


async def _count(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(COUNT_SECONDS)
        await asyncio.to_thread(metrics.keep_up)
