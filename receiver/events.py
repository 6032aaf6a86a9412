"""What happened, as frozen records: the log, the catalogue, pages and webhooks all feed on these.

An event's fields are the keys of its log line; one line for each unit of work.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """Something that an operator may want to know."""

    name: ClassVar[str]
    level: ClassVar[int] = logging.INFO  # of its line in the log


@dataclass(frozen=True, slots=True)
class Listening(Event):
    name: ClassVar[str] = "listening"
    ssh: str


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    name: ClassVar[str] = "stopping"
    uploads: int
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class HostKeyChanged(Event):
    """One of our own keys, or a CA we trust, is not the one of the last start."""

    name: ClassVar[str] = "hostkey.changed"
    level: ClassVar[int] = logging.WARNING
    what: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class LoginAccepted(Event):
    """Not shown: the line of what the client then does names host and peer, too."""

    name: ClassVar[str] = "login.accepted"
    level: ClassVar[int] = logging.DEBUG
    host: str
    peer: str
    how: str
    detail: str


@dataclass(frozen=True, slots=True)
class LoginRefused(Event):
    name: ClassVar[str] = "login.refused"
    peer: str
    user: str
    how: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeyEnrolled(Event):
    name: ClassVar[str] = "key.enrolled"
    host: str
    peer: str
    token: str
    detail: str


@dataclass(frozen=True, slots=True)
class CommandDone(Event):
    """A command that moved no data: mkdir, df, mv and their like."""

    name: ClassVar[str] = "command.done"
    host: str
    peer: str
    command: str
    status: int


@dataclass(frozen=True, slots=True)
class CommandRefused(Event):
    name: ClassVar[str] = "command.refused"
    host: str
    peer: str
    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class UploadStarted(Event):
    name: ClassVar[str] = "upload.started"
    host: str
    peer: str
    directory: str
    file: str
    tool: str


@dataclass(frozen=True, slots=True)
class UploadFinished(Event):
    """A file is stored; `verdict` says whether it is whole."""

    name: ClassVar[str] = "upload.finished"
    host: str
    peer: str
    dump: str
    directory: str
    file: str
    bytes: int
    wire_bytes: int
    seconds: float
    kind: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class UploadFailed(Event):
    """What came could not be stored at all, or not made durable."""

    name: ClassVar[str] = "upload.failed"
    level: ClassVar[int] = logging.WARNING
    host: str
    peer: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reported(Event):
    """A dump's log was read: this is why it crashed."""

    name: ClassVar[str] = "dump.reported"
    host: str
    dump: str
    crash_class: str
    title: str


@dataclass(frozen=True, slots=True)
class Tidied(Event):
    """An upload that a killed server left behind is stored as what it is."""

    name: ClassVar[str] = "upload.tidied"
    directory: str
    file: str
    bytes: int
    verdict: str


@dataclass(frozen=True, slots=True)
class UploadRefused(Event):
    """There was no room, before the first byte: of the disk, of `max_use`, or of the host's quota."""

    name: ClassVar[str] = "upload.refused"
    level: ClassVar[int] = logging.WARNING
    host: str
    peer: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pruned(Event):
    """Retention took a core (or the rest, when that was old, too)."""

    name: ClassVar[str] = "dump.pruned"
    host: str
    dump: str
    directory: str
    what: str  # core, dump
    bytes: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble(Event):
    """Something of ours failed and work went on without it."""

    name: ClassVar[str] = "trouble"
    level: ClassVar[int] = logging.WARNING
    where: str
    reason: str


Subscriber = Callable[[Event], None]


class Bus:
    """Tells every subscriber of every event, in order, in the caller's thread."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """From now on `subscriber` hears every event; it must be quick and must not raise."""
        self._subscribers.append(subscriber)

    def tell(self, event: Event) -> None:
        """Something happened."""
        for subscriber in self._subscribers:
            subscriber(event)


_PLAIN = re.compile(r"[\w.,:/@%+~^#*()<>\[\]{}-]+", re.ASCII)
FIELD_MAX = 1000  # characters of one field in a line


def line(event: Event) -> str:
    """The event as one line of ``key=value``; what clients control is escaped, so a line stays a line."""
    fields = (f"{field.name}={_value(getattr(event, field.name))}" for field in dataclasses.fields(event))
    return " ".join((event.name, *fields))


def _value(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text) and len(text) <= FIELD_MAX:
        return text
    if len(text) > FIELD_MAX:
        text = text[:FIELD_MAX] + "…"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
