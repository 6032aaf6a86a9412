"""The catalogue: an index over the spool in SQLite or PostgreSQL, rebuilt from the manifests at any time."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from receiver.catalogue import brief, journal
from receiver.catalogue.brief import Brief
from receiver.catalogue.journal import Journal
from receiver.catalogue.news import group_of, news
from receiver.catalogue.schema import dumps
from receiver.durable import locked, make_directory
from receiver.events import Event, Reported
from receiver.failure import Failure
from receiver.spool.manifest import Manifest, as_json, from_json

HEAD: Final = "0002"  # the newest revision of migrations/
BACKENDS: Final = ("sqlite", "postgresql")
BUSY_SECONDS: Final = 3  # that a client may wait for a catalogue that is locked or away
MIGRATING: Final = 0x6B64756D70  # of PostgreSQL's advisory locks, the one that we hold meanwhile: "kdump"


class CatalogueError(Failure):
    """The catalogue's database cannot be used; the spool is untouched."""

    exit_code = 74  # EX_IOERR


@dataclass(frozen=True, slots=True)
class Query:
    """Which dumps; None asks for all. `host` and `directory` are exact, `id` may be cut short."""

    id: str | None = None
    host: str | None = None
    since: str | None = None  # UTC, ISO 8601
    verdict: str | None = None
    signature: str | None = None  # may be cut short
    file: str | None = None  # some file has this name, in the client's words or in ours
    most: int | None = None


class Catalogue:
    """Open it once a process; every method blocks and may be called from any thread."""

    def __init__(self, url: str, state: Path) -> None:
        make_directory(state)
        try:
            place = sa.make_url(url)
            if place.drivername in {"postgres", "postgresql"}:
                place = place.set(drivername="postgresql+psycopg")
            if place.get_backend_name() not in BACKENDS:
                raise CatalogueError(f"{place.drivername}: no such catalogue; say {' or '.join(BACKENDS)}")
            if place.get_backend_name() == "postgresql":
                place = place.update_query_dict({"connect_timeout": str(BUSY_SECONDS)})
            self._engine = sa.create_engine(place, pool_pre_ping=place.get_backend_name() != "sqlite")
        except sa.exc.ArgumentError:
            raise CatalogueError("`catalogue` in the settings: say postgresql://USER@HOST/DATABASE") from None
        except ImportError as error:
            raise CatalogueError(f"{error}; install kdump-net[postgresql]") from None
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
        try:
            self._migrate(state)
        except sa.exc.SQLAlchemyError as error:
            shown = self._engine.url.render_as_string(hide_password=True)
            raise CatalogueError(f"{shown}: {_first_line(error)}; see `catalogue` in the settings") from None

    def _migrate(self, state: Path) -> None:
        """Bring the tables to this program's revision; alembic is loaded only when they are not."""
        if self._revision() == HEAD:
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        folder = str(Path(__file__).parent / "migrations")
        config.set_main_option("script_location", folder.replace("%", "%%"))
        with locked(state), self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":  # other machines may share it
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _revision(self) -> str | None:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("select version_num from alembic_version")).scalar()

    @property
    def engine(self) -> sa.Engine:
        """The database, for further tables of it."""
        return self._engine

    @property
    def journal(self) -> Journal:
        """What happened."""
        return Journal(self._engine)

    def record(self, dump: Manifest, *, announce: bool = True) -> list[Event]:
        """Put in, or replace, one dump; with `announce`, and in the same transaction, what is new of it.

        Hold the dump meanwhile: what is new is what the row did not know. The events that went
        into the journal.
        """
        same = sa.or_(dumps.c.id == dump.id, dumps.c.directory == dump.directory)
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(dumps.c.manifest).where(same).limit(1)).scalar()
            # The directory decides: a manifest that was made anew has another id.
            connection.execute(
                sa.delete(dumps).where(dumps.c.directory == dump.directory, dumps.c.id != dump.id)
            )
            connection.execute(self._upsert(_row(dump)))
            told = list(news(from_json(row) if row else None, dump)) if announce else []
            if told:
                journal.take_turn(connection)
                if dump.signature and any(isinstance(event, Reported) for event in told):
                    alike = sa.select(dumps.c.id).where(
                        dumps.c.signature == dump.signature, dumps.c.id != dump.id
                    )
                    if connection.execute(alike.limit(1)).scalar() is None:
                        told.append(group_of(dump))
                journal.write(connection, told, time.time())
        return told

    def forget(self, directories: Iterable[str]) -> None:
        """Take out the rows of directories that are gone."""
        with self._engine.begin() as connection:
            for directory in directories:
                connection.execute(sa.delete(dumps).where(dumps.c.directory == directory))

    def find(self, query: Query) -> Iterator[Manifest]:
        """The dumps that match, newest first."""
        with self._engine.connect() as connection:
            for (document,) in connection.execute(_selected(query, dumps.c.manifest)):
                yield from_json(document)

    def briefs(self, query: Query) -> list[Brief]:
        """The same, of each dump only what lists and plots need: thousands take no time."""
        statement = _selected(query, *brief.columns(self._engine.dialect.name))
        with self._engine.connect() as connection:
            return [Brief(*row) for row in connection.execute(statement)]

    def find_unfinished(self) -> Iterator[Manifest]:
        """The dumps that wait for a file's sha256, or for their report."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(dumps.c.manifest).where(dumps.c.unfinished)).all()
        for (document,) in rows:
            yield from_json(document)

    def known(self) -> dict[str, str]:
        """Directory to manifest, as text, of every row."""
        with self._engine.connect() as connection:
            return {
                row.directory: row.manifest
                for row in connection.execute(sa.select(dumps.c.directory, dumps.c.manifest))
            }

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _upsert(self, row: dict[str, Any]) -> Any:
        # Each dialect takes a while to load; the engine has loaded its own.
        dialect = importlib.import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        statement = dialect.insert(dumps).values(row)
        return statement.on_conflict_do_update(
            index_elements=["id"], set_={k: v for k, v in row.items() if k != "id"}
        )


def _selected(query: Query, *columns: Any) -> sa.Select[Any]:
    statement = sa.select(*columns)
    if query.id is not None:  # a whole name before those that only begin so
        whole = sa.or_(dumps.c.id == query.id, dumps.c.directory == query.id)
        statement = statement.where(sa.or_(whole, dumps.c.id.startswith(query.id, autoescape=True)))
        statement = statement.order_by(whole.desc())
    statement = statement.order_by(dumps.c.date.desc(), dumps.c.id)
    if query.host is not None:
        statement = statement.where(dumps.c.host == query.host)
    if query.since is not None:
        statement = statement.where(dumps.c.date >= query.since)
    if query.verdict is not None:
        statement = statement.where(dumps.c.verdict == query.verdict)
    if query.signature is not None:
        statement = statement.where(dumps.c.signature.startswith(query.signature, autoescape=True))
    if query.file is not None:
        statement = statement.where(dumps.c.manifest.contains(json.dumps(query.file), autoescape=True))
    if query.most is not None:
        statement = statement.limit(query.most)
    return statement


def _row(dump: Manifest) -> dict[str, Any]:
    row = {
        "id": dump.id,
        "directory": dump.directory,
        "host": dump.host,
        "date": dump.date,
        "verdict": dump.verdict,
        "client": dump.client,
        "kernel_release": dump.kernel_release,
        "build_id": dump.build_id,
        "crash_time": dump.crash_time,
        "signature": dump.signature,
        "unfinished": dump.crash_class is None or any(file.sha256 is None for file in dump.files),
        "bytes": sum(file.bytes for file in dump.files),
        "manifest": as_json(dump).decode(),
    }
    return {key: _fitting(value, dumps.c[key].type) for key, value in row.items()}


def _fitting(value: object, kind: sa.types.TypeEngine[Any]) -> object:
    """What dumps say of themselves may be of any length and hold NULs; PostgreSQL refuses both."""
    if isinstance(value, str) and isinstance(kind, sa.String):
        return value.replace("\0", "")[: kind.length]
    return value


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Many readers beside one writer; durability is the manifests' business, so no sync a commit.
    connection.execute(f"pragma busy_timeout={BUSY_SECONDS * 1000}")
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]
