"""What happened, as frozen records: the log, the catalogue, pages and webhooks all feed on these.

An event's fields are the keys of its log line; one line for each unit of work.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError


class Keep(Enum):
    """Whether the journal keeps an event."""

    ALWAYS = "always"
    RATED = "rated"  # strangers can cause any number of them: at a bounded rate
    NEVER = "never"  # only the log's line
    WITH_ITS_ROW = "with its row"  # the catalogue itself writes it, in the transaction of the dump's row


@dataclass(frozen=True, slots=True)
class Event:
    """Something that an operator may want to know."""

    name: ClassVar[str]
    level: ClassVar[int] = logging.INFO  # of its line in the log
    keep: ClassVar[Keep] = Keep.ALWAYS


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
    keep: ClassVar[Keep] = Keep.NEVER
    host: str
    peer: str
    how: str
    detail: str


@dataclass(frozen=True, slots=True)
class LoginRefused(Event):
    name: ClassVar[str] = "login.refused"
    keep: ClassVar[Keep] = Keep.RATED
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
    keep: ClassVar[Keep] = Keep.NEVER
    host: str
    peer: str
    command: str
    status: int


@dataclass(frozen=True, slots=True)
class CommandRefused(Event):
    name: ClassVar[str] = "command.refused"
    keep: ClassVar[Keep] = Keep.RATED
    host: str
    peer: str
    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class UploadStarted(Event):
    name: ClassVar[str] = "upload.started"
    keep: ClassVar[Keep] = Keep.RATED
    host: str
    peer: str
    directory: str
    file: str
    tool: str


@dataclass(frozen=True, slots=True)
class UploadFinished(Event):
    """A file is stored; `verdict` says whether it is whole."""

    name: ClassVar[str] = "upload.finished"
    keep: ClassVar[Keep] = Keep.WITH_ITS_ROW
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
    core: bool = True  # it is the vmcore, or a part of it


@dataclass(frozen=True, slots=True)
class UploadFailed(Event):
    """What came could not be stored at all, or not made durable."""

    name: ClassVar[str] = "upload.failed"
    level: ClassVar[int] = logging.WARNING
    keep: ClassVar[Keep] = Keep.RATED
    host: str
    peer: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reported(Event):
    """A dump's log was read: this is why it crashed."""

    name: ClassVar[str] = "dump.reported"
    keep: ClassVar[Keep] = Keep.WITH_ITS_ROW
    host: str
    dump: str
    crash_class: str
    title: str
    signature: str = ""  # of its group; empty where the log shows no crash
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class GroupAppeared(Event):
    """A crash unlike every other dump's."""

    name: ClassVar[str] = "group.new"
    keep: ClassVar[Keep] = Keep.WITH_ITS_ROW
    host: str
    dump: str
    signature: str
    crash_class: str
    title: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Tidied(Event):
    """An upload that a killed server left behind is stored as what it is; the journal says: finished."""

    name: ClassVar[str] = "upload.tidied"
    keep: ClassVar[Keep] = Keep.NEVER
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
    keep: ClassVar[Keep] = Keep.RATED
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Withheld(Event):
    """So many events of one name came that the journal took only some of them; the log has them all."""

    name: ClassVar[str] = "events.withheld"
    level: ClassVar[int] = logging.WARNING
    what: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class GaveUp(Event):
    """Notifications that were never delivered: too old, too many, or refused for good."""

    name: ClassVar[str] = "notify.gave_up"
    level: ClassVar[int] = logging.WARNING
    target: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Later(Event):
    """Out of the journal: what a later version of this program wrote."""

    name: ClassVar[str] = "later"
    keep: ClassVar[Keep] = Keep.NEVER
    what: str  # its name
    fields: Mapping[str, Any]


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


def _all(kind: type[Event] = Event) -> dict[str, type[Event]]:
    found = {}
    for one in kind.__subclasses__():
        found |= {one.name: one} | _all(one)
    return found


KINDS = {name: kind for name, kind in _all().items() if kind is not Later}


@functools.cache
def _adapter(kind: type[Event]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def name_of(event: Event) -> str:
    """The event's name, as its own version wrote it."""
    return event.what if isinstance(event, Later) else event.name


def to_fields(event: Event) -> dict[str, Any]:
    """The event's fields for JSON; texts are cut at FIELD_MAX, for strangers chose some of them."""
    if isinstance(event, Later):
        return dict(event.fields)
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return {key: value[:FIELD_MAX] if isinstance(value, str) else value for key, value in fields.items()}


def read(name: str, fields: Mapping[str, Any]) -> Event:
    """The event that `to_fields` took apart; `Later` where this version does not know it, or not so."""
    if name not in KINDS:
        return Later(name, fields)
    try:
        event: Event = _adapter(KINDS[name]).validate_python(fields)
    except ValidationError:
        return Later(name, fields)
    return event


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
