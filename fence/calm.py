"""How much one node may tell: a flood of datagrams must not become a flood of events. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fence.events import Alarm, Drill, Event, NodeEvent, StateChanged

ALARM_EVERY = 60.0  # seconds between two events of one kind of alarm, or of drills
BURST = 30.0  # other events at once …
PER_SECOND = 0.5  # … and for long


@dataclass(slots=True)
class _Muted:
    until: float
    count: int = 0


class Calm:
    """Lets events of a node through at a bounded rate; a change of state is late rather than lost."""

    def __init__(self) -> None:
        self._alarms: dict[tuple[str, str], _Muted] = {}
        self._credit: dict[str, tuple[float, float]] = {}  # node ▸ credit, and as of when
        self._late: dict[str, StateChanged] = {}
        self.withheld = 0

    def pass_on(self, events: list[NodeEvent], now: float) -> list[Event]:
        """Those that may be told now."""
        passed: list[Event] = [told for event in events if (told := self._one(event, now)) is not None]
        self.withheld += len(events) - len(passed)
        return passed

    def due(self, now: float) -> list[Event]:
        """Changes of state that were held back and may be told now."""
        told: list[Event] = []
        for name, event in list(self._late.items()):
            if self._spend(name, now):
                del self._late[name]
                if event.state is not event.was:
                    told.append(event)
        return told

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._late.pop(node, None)
        self._credit.pop(node, None)
        for key in [key for key in self._alarms if key[0] == node]:
            del self._alarms[key]

    def _one(self, event: NodeEvent, now: float) -> NodeEvent | None:
        match event:
            case Alarm(node=node, alarm=kind):
                count = self._alarm(node, kind, now)
                return replace(event, count=count) if count else None
            case Drill(node=node):
                return event if self._alarm(node, "drill", now) else None
            case StateChanged(node=node):
                late = self._late.get(node)
                if late is not None:
                    self._late[node] = replace(event, was=late.was)
                elif self._spend(node, now):
                    return event
                else:
                    self._late[node] = event
            case _ if self._spend(event.node, now):
                return event
        return None

    def _alarm(self, node: str, kind: str, now: float) -> int:
        """How many of the kind an event of now stands for; 0: not yet."""
        muted = self._alarms.get((node, kind))
        if muted is not None and now < muted.until:
            muted.count += 1
            return 0
        self._alarms[node, kind] = _Muted(now + ALARM_EVERY)
        return 1 + (muted.count if muted else 0)

    def _spend(self, node: str, now: float) -> bool:
        credit, then = self._credit.get(node, (BURST, now))
        credit = min(BURST, credit + (now - then) * PER_SECOND)
        if credit < 1:
            return False
        self._credit[node] = (credit - 1, now)
        return True
