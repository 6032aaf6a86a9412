"""What happened, as frozen records: journal, stream, webhooks, programs and metrics all feed on these.

A record's fields are the ``data`` of its CloudEvent (docs/fence-api.md), ``kind`` the end of its type. Fields
that are None are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum, IntEnum, StrEnum
from typing import ClassVar


class Grade(IntEnum):
    """How well it is proven that a node's capture kernel runs; the order is the point."""

    NONE = 0
    UDP = 1  # a datagram from the node's address
    UDP_CHECKED = 2  # … that passed checks which a blind spoofer would fail
    SIGNED = 3  # a valid, new signature by the node's own key
    SSH = 4  # the receiver authenticated the host and bytes come in
    SAVED = 5  # the receiver has the whole dump

    def __str__(self) -> str:
        return GRADE_NAMES[self]


GRADE_NAMES = tuple(name.lower().replace("_", "-") for name in Grade.__members__)
GRADES = {str(grade): grade for grade in Grade}


class State(StrEnum):
    """Where a node is in the life of a crash."""

    QUIET = "quiet"
    DUMPING = "dumping"
    SAVED = "saved"
    FAILED = "failed"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """Something about one node."""

    kind: ClassVar[str]
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(NodeEvent):
    """A node went from one state to another; the kind is ``node.`` and the new state."""

    state: State
    was: State
    grade: Grade
    reason: str
    heard_from: str | None = None
    session: str | None = None
    beats: int = 0
    done_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def kind(self) -> str:  # type: ignore[override]
        return f"node.{self.state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeRose(NodeEvent):
    """Better evidence for the same crash than there was before."""

    kind = "node.grade"
    state: State
    grade: Grade
    heard_from: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive(NodeEvent):
    """Somebody knows that the node runs its normal kernel."""

    kind = "node.alive"
    by: str
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(NodeEvent):
    """Somebody knows that the node is not seen any more."""

    kind = "node.lost"
    by: str
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill(NodeEvent):
    """A `fence_kdump_send --test` arrived."""

    kind = "node.drill"
    grade: Grade
    heard_from: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(NodeEvent):
    """What an honest node and network do not do. ``count``: how often since the last event of it."""

    kind = "alarm"
    alarm: str
    reason: str
    heard_from: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(NodeEvent):
    """An answer to "is it off?"; ``grade`` is the best fresh evidence, ``policy`` what was asked for."""

    kind = "decision"
    off: bool
    grade: Grade
    policy: Grade
    reason: str
    state: State
    beats: int
    age_seconds: float | None
    waited_seconds: float
    asked_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted:
    """The daemon listens."""

    kind: ClassVar[str] = "daemon.started"
    version: str
    nodes: int
    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStopped:
    """The daemon was told to stop."""

    kind: ClassVar[str] = "daemon.stopped"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonReloaded:
    """The nodes were read again; ``error`` says why the old ones were kept."""

    kind: ClassVar[str] = "daemon.reloaded"
    nodes: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    error: str | None = None


Event = NodeEvent | DaemonStarted | DaemonStopped | DaemonReloaded


def data_of(event: Event) -> dict[str, object]:
    """The event's fields as JSON knows them."""
    found: dict[str, object] = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if value is None:
            continue
        if isinstance(value, Enum):
            value = str(value)
        elif isinstance(value, float):
            value = round(value, 3)
        elif isinstance(value, tuple):
            value = list(value)
        found[field.name] = value
    return found
