"""The composition root: settings become a running daemon."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import trio

from fence import clock
from fence.api import Shell, application
from fence.daemon import Daemon
from fence.events import DaemonReloaded, DaemonStarted, DaemonStopped, State
from fence.failure import Failure
from fence.ground import allow_many_files, calm_collector, lock, open_store, udp_sockets
from fence.journal import Journal
from fence.listen import Ear, listen
from fence.metrics import Numbers
from fence.push import Pusher, consumer
from fence.roster import roster
from fence.serve import Http, tcp_socket, unix_socket
from fence.settings import Program, Settings, Webhook
from fence.systemd import notify, watchdog_seconds
from fence.udp import bound, want_hints
from fence.view import health_view, our_version

FIRST_LOOKUP_SECONDS: Final = 5.0  # how long the start waits for names
STATUS_SECONDS: Final = 5.0
DROPS_SECONDS: Final = 60.0  # how long dropped datagrams are a problem
RESTART_KEYS: Final = ("listen", "receive_buffer", "state_dir", "journal", "webhook", "program")
log = logging.getLogger("kdump-fence")


def serve(load: Callable[[], Settings], settings_file: object, node_options: tuple[str, ...]) -> None:
    """Run the daemon until SIGTERM or SIGINT. ``load`` reads the settings, at first and by SIGHUP.

    Raises:
        Failure: the settings, an address or the state directory are not as they must be.
    """
    allow_many_files()
    trio.run(Runner(load, settings_file, node_options).run)


class Runner:
    """One daemon from its start to its end."""

    def __init__(
        self, load: Callable[[], Settings], settings_file: object, node_options: tuple[str, ...]
    ) -> None:
        self._load, self._file, self._node_options = load, settings_file, node_options
        settings = self._settings = load()
        listed = roster(settings, settings_file, node_options)
        with ExitStack() as held:
            # In this order: who does not get the state directory takes no port from who has it.
            held.callback(os.close, lock(settings.state_dir))
            self.ears = [Ear(held.enter_context(sock)) for sock in udp_sockets(settings)]
            self._sockets = [held.enter_context(unix_socket(settings.api))]
            if settings.api.where:
                self._sockets.append(held.enter_context(tcp_socket(settings.api.where)))
            store, notice = open_store(settings.state_dir / "journal.sqlite")
            self._held = held.pop_all()
        self._notices = [notice] if notice else []
        self._clean = store.last_kind() in (None, DaemonStopped.kind)
        clock_id = clock.identity()
        store.forget({entry.name for entry in listed}, clock_id)
        self.journal = Journal(
            store,
            time.time,
            keep_seconds=settings.journal.max_days * 86_400,
            max_bytes=settings.journal.max_bytes,
        )
        self.daemon = Daemon(settings, self.journal, store.standing(), clock_id)
        self.daemon.configure(listed)
        self._source = f"/kdump-fence/{socket.gethostname()}"
        places = store.consumers()
        targets: tuple[Webhook | Program, ...] = (*settings.webhook, *settings.program)
        self.pushers = [
            Pusher(each, self.journal, places.get(consumer(each), self.journal.last), self._source, time.time)
            for each in targets
        ]
        self._numbers = Numbers(self.daemon, self.ears, self.pushers, self.problems)
        shell = Shell(self.daemon, self.health, self._numbers.text, self._source)
        self._http = Http(application(shell), settings.api)
        self._reload_error: str | None = None
        self._drops: deque[tuple[float, int]] = deque()
        self._stop = trio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        with self._held:
            await self._run()

    async def _run(self) -> None:
        async with trio.open_nursery() as outer:
            # The journal outlives all that writes in it.
            await outer.start(self.journal.run)
            async with trio.open_nursery() as inner:
                await inner.start(self._signals)
                self._hint()
                for ear in self.ears:
                    await inner.start(listen, ear, self.daemon.now, self.daemon.take)
                inner.start_soon(self.daemon.tick)
                inner.start_soon(self._log)
                with trio.move_on_after(FIRST_LOOKUP_SECONDS):
                    await self.daemon.resolver.once()
                inner.start_soon(self.daemon.resolver.run)
                await inner.start(self._http.serve, self._sockets, self._stop)
                for pusher in self.pushers:
                    inner.start_soon(pusher.run)
                inner.start_soon(self.daemon.waits.run)
                nodes = len(self.daemon.table.members)
                self.journal.record([DaemonStarted(version=our_version(), nodes=nodes, clean=self._clean)])
                await self.journal.flush()  # who is told that it runs can read when it began
                self._ready()
                calm_collector()
                inner.start_soon(self._watch)
                await self._stop.wait()
                await self._finish()
                inner.cancel_scope.cancel()
            outer.cancel_scope.cancel()
        self._settings.api.socket.unlink(missing_ok=True)

    def health(self) -> dict[str, Any]:
        """What /healthz shows."""
        return health_view(self.daemon, self.ears, self.problems())

    def problems(self) -> list[str]:
        """What keeps the daemon from doing its work, as sentences."""
        found = [*self._notices]
        found += [ear.problem for ear in self.ears if ear.problem]
        found += [pusher.problem for pusher in self.pushers if pusher.problem]
        found += [problem for problem in (self.journal.problem, self._reload_error) if problem]
        if self.journal.lost:
            found.append(
                f"{self.journal.lost} events were never written: the journal's disk did not take them"
            )
        if lost := self._dropped_lately():
            found.append(f"{lost} datagrams dropped by the kernel within a minute; raise `receive_buffer`")
        return found

    def _dropped_lately(self) -> int:
        now, total = self.daemon.now(), sum(ear.dropped for ear in self.ears)
        if not self._drops or self._drops[-1][1] != total:
            self._drops.append((now, total))
        while len(self._drops) > 1 and now - self._drops[1][0] > DROPS_SECONDS:
            self._drops.popleft()
        return total - self._drops[0][1]

    def _hint(self) -> None:
        """Have the sockets give TTL and interface, if any node has hints on them."""
        wanted = any(member.listed.hinted() for member in self.daemon.table.members.values())
        for ear in self.ears:
            ear.hints = wanted
            want_hints(ear.sock, wanted)

    def _ready(self) -> None:
        where = [str(bound(ear.sock)) for ear in self.ears]
        line = {
            "event": "listening",
            "udp": where[0],
            "udp_all": where,
            "socket": str(self._settings.api.socket),
        }
        for sock in self._sockets[1:]:
            host, port = sock.getsockname()[:2]
            scheme = "https" if self._http.tls else "http"
            line["http"] = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        print(json.dumps(line), flush=True)
        notify("READY=1", self._status())

    def _status(self) -> str:
        nodes = [member.node for member in self.daemon.table.members.values()]
        dumping = sum(node.state is State.DUMPING for node in nodes)
        problems = self.problems()
        trouble = f"; {problems[0]}" if problems else ""
        return (
            f"STATUS={len(nodes)} nodes, {dumping} dumping, {self.daemon.waits.open} questions wait{trouble}"
        )

    async def _signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                if number == signal.SIGHUP:
                    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
                    self._reload()
                    notify("READY=1", self._status())
                else:
                    log.info("daemon.stopping signal=%s", signal.Signals(number).name)
                    self._stop.set()

    def _reload(self) -> None:
        nodes = len(self.daemon.table.members)
        try:
            settings = self._load()
            listed = roster(settings, self._file, self._node_options)
            self._http.load_certificate(settings.api)
        except Failure as error:
            self._reload_error = f"not reloaded: {error}"
            self.journal.record([DaemonReloaded(nodes=nodes, error=str(error))])
            return
        restart = [key for key in RESTART_KEYS if getattr(settings, key) != getattr(self._settings, key)]
        self._reload_error = f"changes of {', '.join(restart)} take a restart" if restart else None
        self.daemon.settings = settings
        changes = self.daemon.configure(listed)
        self._hint()
        self.journal.record(
            [
                DaemonReloaded(
                    nodes=len(self.daemon.table.members),
                    added=changes.added,
                    removed=changes.removed,
                    changed=changes.changed,
                    error=self._reload_error,
                )
            ]
        )

    async def _watch(self) -> None:
        """Tell systemd that the loop turns, and what it is at."""
        every = min(watchdog_seconds() or STATUS_SECONDS, STATUS_SECONDS)
        while True:
            await trio.sleep(every)
            notify("WATCHDOG=1", self._status())

    async def _log(self) -> None:
        """One line an event."""
        last = self.journal.last
        while log.isEnabledFor(logging.INFO):
            for stored in await self.journal.since(last, 1000):
                last = stored.id
                fields = " ".join(f"{key}={_value(value)}" for key, value in json.loads(stored.data).items())
                log.info("%s %s", stored.kind, fields)
            await self.journal.news(last)

    async def _finish(self) -> None:
        """Answer who waits, write down what is known, tell that we stop."""
        notify("STOPPING=1")
        self.daemon.stop()
        self.daemon.keep_all()
        self.journal.record([DaemonStopped(reason="told to stop")])
        await self.journal.flush(patience=2.0)
        await self._http.ended.wait()


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if any(letter in text for letter in ' "=\n') or not text else text
