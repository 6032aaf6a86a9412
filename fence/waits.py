"""Questions that wait for evidence: any number at once, each woken only when its answer is yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from fence.events import Grade
from fence.node import Node


@dataclass(slots=True, eq=False)
class Wait:
    """One question."""

    asked: Grade
    bell: trio.Event = field(default_factory=trio.Event)


class Waits:
    """The open questions, by node."""

    def __init__(self) -> None:
        self._of: dict[str, set[Wait]] = {}
        self.open = 0

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
        for waiting in self._of.values():
            for wait in waiting:
                wait.bell.set()

    def ring(self, node: Node, now: float) -> None:
        """There is something new of a node."""
        waiting = self._of.get(node.name)
        if waiting:
            best = node.best(now)
            if best >= node.rules.off_grade:
                for wait in waiting:
                    if best >= wait.asked:
                        wait.bell.set()
