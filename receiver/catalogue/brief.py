"""A dump in a dozen words: what lists, groups and plots need of thousands, without their manifests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from receiver.catalogue.schema import dumps
from receiver.triage.groups import Occurrence

_COLUMNS = (
    "id",
    "directory",
    "host",
    "date",
    "verdict",
    "client",
    "kernel_release",
    "crash_time",
    "bytes",
    "signature",
)
_OF_MANIFEST = ("title", "crash_class", "hardware", "reason")  # read out of its JSON by the database


@dataclass(frozen=True, slots=True)
class Brief:
    """One row. Times are UTC, ISO 8601; `bytes` of all its files."""

    id: str
    directory: str
    host: str
    date: str
    verdict: str
    client: str
    kernel_release: str | None
    crash_time: str | None
    bytes: int
    signature: str | None
    title: str | None
    crash_class: str | None
    hardware: str | None
    reason: str | None


class Crashed(Protocol):
    """What an occurrence is made of: a manifest has it, and a brief."""

    @property
    def id(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def date(self) -> str: ...
    @property
    def crash_time(self) -> str | None: ...
    @property
    def signature(self) -> str | None: ...
    @property
    def title(self) -> str | None: ...
    @property
    def crash_class(self) -> str | None: ...
    @property
    def kernel_release(self) -> str | None: ...
    @property
    def hardware(self) -> str | None: ...


def columns(dialect: str) -> list[Any]:
    """What to select for a `Brief`, in its order."""
    # SQLite reads JSON out of text; PostgreSQL wants to be told that it is JSON.
    text: Any = dumps.c.manifest
    document = sa.type_coerce(text, sa.JSON) if dialect == "sqlite" else sa.cast(text, sa.JSON)
    told = [document[name].as_string().label(name) for name in _OF_MANIFEST]
    return [*(dumps.c[name] for name in _COLUMNS), *told]


def occurrences(found: Iterable[Crashed]) -> Iterator[Occurrence]:
    """The crashes among `found`: dumps whose log says why."""
    for dump in found:
        if dump.signature and dump.title and dump.crash_class:
            yield Occurrence(
                dump=dump.id,
                host=dump.host,
                seconds=dt.datetime.fromisoformat(dump.crash_time or dump.date).timestamp(),
                signature=dump.signature,
                title=dump.title,
                crash_class=dump.crash_class,
                kernel=dump.kernel_release,
                hardware=dump.hardware,
            )
