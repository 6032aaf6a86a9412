"""The daemon's desk: what arrives is judged by the table, goes to the journal, and answers who waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import trio

from fence import clock, standing
from fence.events import Decision, Event, Grade, NodeEvent
from fence.journal import Journal
from fence.listed import Listed
from fence.node import Node, Upload
from fence.resolve import Resolver, lookup
from fence.roster import asked as asked_for
from fence.settings import Settings
from fence.table import Changes, Datagram, Heard, Table
from fence.waits import Waits

TICK_SECONDS = 1.0
log = logging.getLogger("kdump-fence")


class Daemon:
    """Thin shell around `Table`: gives it the time, and takes its events where they belong."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        remembered: dict[str, tuple[str, str]],
        clock_id: str,
        now: Callable[[], float] = clock.now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``remembered``: clock identity and line of each node, of the last run; ``clock_id``: ours."""
        self.settings = settings
        self.journal = journal
        self.table = Table(self._recall, settings.nodes.unknown_max)
        self.resolver = Resolver(self._names, self.resolved, settings.nodes.resolve_seconds)
        self.waits = Waits()
        self.now, self.wall = now, wall
        self.started = now()
        self.stopping = False
        self.decisions = {True: 0, False: 0}
        self._remembered = remembered
        self._clock_id = clock_id

    # What comes in

    def take(self, batch: Sequence[Datagram]) -> None:
        """Datagrams from a socket."""
        now, wall = self.now(), self.wall()
        touched: set[Node] = set()
        for datagram in batch:
            heard = self.table.heard(datagram, now, wall)
            if heard.node is not None:
                touched.add(heard.node)
            if heard.events:
                self._record(heard.events)
        for node in touched:
            self.waits.ring(node, now)
            if node.urgent:
                self._keep(node)

    def uploading(self, node: Node, upload: Upload, age: float) -> None:
        """A receiver's evidence, ``age`` seconds old."""
        now = self.now()
        self._record(self.table.touched(node, node.uploading(upload, now, now - age), now))
        self.waits.ring(node, now)

    async def alive(self, node: Node, by: str, age: float) -> bool:
        """The node runs its normal kernel; False: known, but not on the disk."""
        now = self.now()
        self._record(self.table.touched(node, node.alive(by, now, now - age), now))
        return await self.kept(node)

    async def lost(self, node: Node, by: str, age: float) -> bool:
        """The node is not seen any more; False: known, but not on the disk."""
        now = self.now()
        self._record(self.table.touched(node, node.lost(by, now, now - age), now))
        return await self.kept(node)

    async def kept(self, node: Node) -> bool:
        """Wait until what is known of the node is on the disk."""
        self._keep(node)
        return await self.journal.flush()

    # What is asked

    async def known(self, called: str) -> Node | None:
        """The node of a name, id or address; an unlisted one is resolved and watched, if that is allowed.

        A name that resolves to what is a node's already is that node.
        """
        node = self.table.find(called)
        if node is not None or self.settings.nodes.unlisted == "refuse":
            return node
        listed = asked_for(called, self.settings)
        if listed is None:
            return None
        addresses = listed.addresses or await lookup(called)
        owners = {owner for address in addresses if (owner := self.table.owner(address))}
        if owners or not addresses:
            return self.table.find(owners.pop()) if len(owners) == 1 else None
        return self._heard(self.table.adopt(listed, addresses, self.now()))

    async def off(self, nodes: Sequence[Node], timeout: float, asked: Grade, asked_by: str) -> Decision:
        """Is one of the nodes proven to be off? Answers as soon as one is, or after ``timeout`` seconds."""
        began = self.now()
        deadline = trio.current_time() + timeout
        with self.waits.wait([node.name for node in nodes], asked) as wait:
            while True:
                now = self.now()
                nodes = [self.table.now(node) for node in nodes]
                answers = [node.decide(now, asked=asked, asked_by=asked_by, began=began) for node in nodes]
                answer = max(answers, key=lambda each: (each.off, each.grade))
                if answer.off or self.stopping or trio.current_time() >= deadline:
                    break
                with trio.move_on_at(deadline):
                    await wait.wait()
        self.decisions[answer.off] += 1
        self.journal.record([answer])
        return answer

    # What changes

    def configure(self, listed: Iterable[Listed]) -> Changes:
        """These are the nodes now."""
        changes = self.table.configure(listed, self.now())
        self._record(changes.events)
        self.resolver.refresh()
        return changes

    def resolved(self, name: str, addresses: Iterable[str]) -> None:
        """The names of a node resolve to these addresses now."""
        if name in self.table.members:
            self._heard(self.table.resolved(name, addresses, self.now()))

    def _names(self) -> dict[str, tuple[str, ...]]:
        members = self.table.members.items()
        return {name: member.listed.names for name, member in members if member.listed.names}

    async def tick(self) -> None:
        """Let time pass, for ever."""
        while True:
            await trio.sleep(TICK_SECONDS)
            self._record(self.table.tick(self.now()))
            self.keep_all()

    def keep_all(self) -> None:
        """Write down what has changed of all nodes."""
        for member in self.table.members.values():
            if member.node.changed:
                self._keep(member.node)

    def stop(self) -> None:
        """Send everybody home who waits for an answer."""
        self.stopping = True
        self.waits.ring_all()

    def _heard(self, heard: Heard) -> Node | None:
        self._record(heard.events)
        if heard.node is not None:
            self.waits.ring(heard.node, self.now())
        return heard.node

    def _record(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for event in events:
            if isinstance(event, NodeEvent) and event.node in self.table.members:
                self._keep(self.table.members[event.node].node)
        self.journal.record(events)

    def _keep(self, node: Node) -> None:
        line = standing.written(node, self.now(), self.wall())
        self._remembered[node.name] = (self._clock_id, line)
        self.journal.keep(node.name, self._clock_id, line)
        node.changed = node.urgent = False

    def _recall(self, node: Node, now: float) -> None:
        clock_id, line = self._remembered.get(node.name, ("", ""))
        if line:
            try:
                standing.recall(node, line, now, self.wall(), same_clock=clock_id == self._clock_id)
            except (ValueError, KeyError, TypeError) as error:
                log.warning("node.forgotten node=%s reason=%r", node.name, error)
