"""The journal: what happened, numbered, for pages, metrics and notifications to read at their own pace.

Entries are seen in the order of their ids: who has read up to one id never misses a smaller one.
SQLite has one writer at a time; on PostgreSQL a number is drawn only under a lock that is held
until the commit.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from receiver.catalogue.schema import events as table
from receiver.events import Event, name_of, read, to_fields

APPENDING: Final = 0x6B64756D71  # of PostgreSQL's advisory locks, the one that appends hold: "kdump" + 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `host` and `dump` (an id) stand in `fields`, too."""

    id: int
    time: str  # UTC, ISO 8601, milliseconds
    name: str
    host: str | None
    dump: str | None
    fields: dict[str, Any]

    @property
    def event(self) -> Event:
        """The record that was told; what a later version wrote comes as `Later`."""
        return read(self.name, self.fields)


class Journal:
    """Every method blocks and may be called from any thread. Raises SQLAlchemyError."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def append(self, happened: Sequence[Event], now: float | None = None) -> None:
        """Write them down, in one transaction; `now` in seconds of the epoch."""
        if happened:
            with self._engine.begin() as connection:
                take_turn(connection)
                write(connection, happened, time.time() if now is None else now)

    def after(
        self,
        id: int,  # noqa: A002  # the table's word
        limit: int = 1000,
        *,
        names: Iterable[str] | None = None,
        host: str | None = None,
        dump: str | None = None,
    ) -> list[Entry]:
        """At most `limit` entries after `id`, oldest first; of these names, this host, this dump only."""
        wanted = _wanted(sa.select(table).where(table.c.id > id), names, host, dump)
        with self._engine.connect() as connection:
            return [_entry(row) for row in connection.execute(wanted.order_by(table.c.id).limit(limit))]

    def newest(
        self,
        limit: int = 100,
        *,
        names: Iterable[str] | None = None,
        host: str | None = None,
        dump: str | None = None,
    ) -> list[Entry]:
        """The last `limit` entries, oldest first."""
        wanted = _wanted(sa.select(table), names, host, dump)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(table.c.id.desc()).limit(limit)).all()
        return [_entry(row) for row in reversed(rows)]

    def last_id(self) -> int:
        """The id of the newest entry; 0 where there is none."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0

    def trim(self, keep: int, keep_seconds: float, now: float) -> int:
        """Drop all but the newest `keep` entries, and those older than `keep_seconds`; how many went."""
        beyond = sa.select(table.c.id).order_by(table.c.id.desc()).offset(keep).limit(1)
        with self._engine.connect() as connection:
            last = connection.execute(beyond).scalar() or 0
        old = sa.or_(table.c.id <= last, table.c.time < stamp(now - keep_seconds))
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(table).where(old)).rowcount


def take_turn(connection: sa.Connection) -> None:
    """Until this transaction ends nobody else appends; call it before reading what an append depends on."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(APPENDING)))


def write(connection: sa.Connection, happened: Iterable[Event], now: float) -> None:
    """Insert the entries; the transaction and the turn are the caller's."""
    rows = [_row(event, stamp(now)) for event in happened]
    if rows:
        connection.execute(sa.insert(table), rows)


def stamp(seconds: float) -> str:
    """Seconds of the epoch as an entry's time."""
    text = dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _row(event: Event, at: str) -> dict[str, Any]:
    fields = to_fields(event)
    return {
        "time": at,
        "name": name_of(event)[:64],
        "host": _column(fields.get("host"), 128),
        "dump": _column(fields.get("dump"), 32),
        "fields": json.dumps(fields),  # in ASCII: PostgreSQL refuses NULs
    }


def _column(value: object, size: int) -> str | None:
    return value.replace("\0", "")[:size] if isinstance(value, str) and value else None


def _entry(row: Any) -> Entry:
    return Entry(row.id, row.time, row.name, row.host, row.dump, json.loads(row.fields))


def _wanted(
    statement: sa.Select[Any], names: Iterable[str] | None, host: str | None, dump: str | None
) -> sa.Select[Any]:
    if names is not None:
        statement = statement.where(table.c.name.in_(list(names)))
    if host is not None:
        statement = statement.where(table.c.host == host)
    if dump is not None:
        statement = statement.where(table.c.dump == dump)
    return statement
