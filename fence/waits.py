"""Questions that wait for evidence: any number at once, each woken only when its answer is yes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from fence.events import Grade
from fence.node import Node

AT_ONCE = 32  # answers begun together
TURNS = 4  # of everybody else between them


@dataclass(slots=True, eq=False)
class Wait:
    """One question."""

    asked: Grade
    rung: bool = False
    _bell: trio.Event = field(default_factory=trio.Event)

    def ring(self) -> None:
        """Let it go on."""
        self._bell.set()

    async def wait(self) -> None:
        """Until it is rung; each call waits for another time."""
        await self._bell.wait()
        self.rung, self._bell = False, trio.Event()


class Waits:
    """The open questions, by node. ``run`` must run.

    Thousands that are answered by one datagram are woken a few at a time: the first answers go out while the
    last are still to be made, and other questions get their turn in between.
    """

    def __init__(self) -> None:
        self._of: dict[str, set[Wait]] = {}
        self._rung: deque[Wait] = deque()
        self._more = trio.Event()
        self.open = 0

    async def run(self) -> None:
        """Wake whose turn it is, for ever."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._rung:
                for _ in range(min(AT_ONCE, len(self._rung))):
                    self._rung.popleft().ring()
                for _ in range(TURNS):
                    await trio.lowlevel.checkpoint()

    @contextmanager
    def wait(self, nodes: Iterable[str], asked: Grade) -> Iterator[Wait]:
        """Be woken by evidence on any of these, of grade ``asked`` and good enough for its node."""
        wait = Wait(asked)
        names = tuple(nodes)
        for name in names:
            self._of.setdefault(name, set()).add(wait)
        self.open += 1
        try:
            yield wait
        finally:
            self.open -= 1
            for name in names:
                waiting = self._of[name]
                waiting.discard(wait)
                if not waiting:
                    del self._of[name]

    def ring_all(self) -> None:
        """Wake everybody, whatever there is."""
        self._wake({wait for waiting in self._of.values() for wait in waiting})

    def ring(self, node: Node, now: float) -> None:
        """There is something new of a node."""
        waiting = self._of.get(node.name)
        if waiting:
            best = node.best(now)
            if best >= node.rules.off_grade:
                self._wake(wait for wait in waiting if best >= wait.asked)

    def _wake(self, waiting: Iterable[Wait]) -> None:
        found = [wait for wait in waiting if not wait.rung]
        for wait in found:
            wait.rung = True
        if len(found) <= AT_ONCE:
            for wait in found:
                wait.ring()
        else:
            self._rung.extend(found)
            self._more.set()
