"""Who takes how much: an index of the spool's use, so that admission need not walk the tree.

A row a dump and a row an upload under way, in a small SQLite file of the state directory
that every serving process opens for the length of one transaction (about 0.2 ms): so the
processes never promise the same bytes twice, nobody has to close anything, and a fork or a
kill leaves nothing open. Sums are kept by triggers. Like the catalogue it can be made anew from
the manifests at any time; unlike it, it is always local: no upload waits for a database
elsewhere.
"""

from __future__ import annotations

import errno
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receiver.durable import write_file
from receiver.spool.retention import Dump
from receiver.spool.space import Use

BUSY_SECONDS: Final = 10.0  # that another process may hold it
VERSION: Final = 1
ALL: Final = ""  # in place of a host's name: everything
SCHEMA: Final = """
create table dumps (
    directory text primary key, id text not null, host text not null, grp text, seconds real not null,
    complete integer not null, cores integer not null, core_bytes integer not null,
    rest_bytes integer not null, pinned integer not null
) without rowid;
create index dumps_host on dumps (host, seconds);
create index dumps_grp on dumps (grp, seconds);
create table uploads (
    id text primary key, host text not null, directory text, bytes integer not null, since real not null
) without rowid;
create table used (
    host text primary key, bytes integer not null default 0, dumps integer not null default 0,
    reserved integer not null default 0
) without rowid;
create trigger dumps_in after insert on dumps begin
    insert into used (host, bytes, dumps) values (new.host, new.core_bytes + new.rest_bytes, 1),
        ('', new.core_bytes + new.rest_bytes, 1)
        on conflict do update set bytes = bytes + excluded.bytes, dumps = dumps + 1;
end;
create trigger dumps_out after delete on dumps begin
    update used set bytes = bytes - old.core_bytes - old.rest_bytes, dumps = dumps - 1
        where host in (old.host, '');
end;
create trigger uploads_in after insert on uploads begin
    insert into used (host, reserved) values (new.host, new.bytes), ('', new.bytes)
        on conflict do update set reserved = reserved + excluded.reserved;
end;
create trigger uploads_change after update of bytes on uploads begin
    update used set reserved = reserved + new.bytes - old.bytes where host in (old.host, '');
end;
create trigger uploads_out after delete on uploads begin
    update used set reserved = reserved - old.bytes where host in (old.host, '');
end;
"""
_COLUMNS: Final = "id, directory, host, grp, seconds, complete, cores, core_bytes, rest_bytes, pinned"


@dataclass(frozen=True, slots=True)
class Reservation:
    """Bytes promised to an upload; `directory` is known once its dump is begun."""

    id: str
    host: str
    directory: str | None
    bytes: int
    since: float  # Unix time of the promise


@dataclass(frozen=True, slots=True)
class HostUse:
    """What one host's dumps take."""

    host: str
    dumps: int
    use: Use


class Ledger:
    """The file at `path`. Every method blocks shortly and may be called from any thread or process.

    Where it is missing or no ledger of ours, `make` is done with what `survey` finds first.
    Raises OSError where the file cannot be used (a full disk among others), whatever SQLite calls it.
    """

    def __init__(self, path: Path, survey: Callable[[], Iterable[Dump]]) -> None:
        self.path = path
        self._survey = survey

    def mend(self) -> None:
        """Make it anew unless it is whole: a power cut may have broken it in places that a use may miss."""
        try:
            with closing(self._open()) as connection:
                if connection.execute("pragma quick_check(1)").fetchone() == ("ok",):
                    return
        except sqlite3.Error:
            pass
        self.make()

    def make(self) -> None:
        """Begin anew; what was promised to uploads under way is forgotten."""
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        write_file(aside, b"", sync=False)
        try:
            with closing(_connect(aside)) as connection:
                connection.execute("begin immediate")
                for statement in _statements(SCHEMA):
                    connection.execute(statement)
                transaction = Transaction(connection)
                for dump in self._survey():
                    transaction.enter(dump)
                connection.execute(f"pragma user_version = {VERSION}")
                connection.execute("commit")
        except sqlite3.Error as error:
            aside.unlink(missing_ok=True)
            raise _said(error, self.path) from None
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)  # of the one before
        aside.rename(self.path)

    @contextmanager
    def changing(self) -> Iterator[Transaction]:
        """Everything or nothing of what is done inside; others wait meanwhile."""
        try:
            with closing(self._open()) as connection:
                connection.execute("begin immediate")
                try:
                    yield Transaction(connection)
                except BaseException:
                    connection.rollback()
                    raise
                connection.execute("commit")
        except sqlite3.Error as error:
            raise _said(error, self.path) from None

    def dumps(self) -> list[Dump]:
        """Every row, the oldest first."""
        with self.changing() as transaction:
            return transaction.dumps()

    def hosts(self) -> list[HostUse]:
        """Every host that has dumps, the one that takes most first."""
        with self.changing() as transaction:
            return transaction.hosts()

    def _open(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = _connect(self.path)
            if connection.execute("pragma user_version").fetchone() == (VERSION,):
                return connection
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL}:
                raise
        if connection is not None:
            connection.close()
        self.make()
        return _connect(self.path)


class Transaction:
    """What may be done while the ledger is held."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def enter(self, dump: Dump) -> None:
        """Put in, or replace, one dump."""
        self.forget(dump.directory)
        self.connection.execute(
            f"insert into dumps ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # ours
            (
                dump.id,
                dump.directory,
                dump.host,
                dump.group,
                dump.seconds,
                dump.complete,
                dump.cores,
                dump.core_bytes,
                dump.rest_bytes,
                dump.pinned,
            ),
        )

    def forget(self, directory: str) -> None:
        """Take out a dump that is gone."""
        self.connection.execute("delete from dumps where directory = ?", (directory,))

    def dumps(self, *, group: str | None = None, host: str | None = None) -> list[Dump]:
        """Every row, or those of a group or host, the oldest first; `receiving` is not known here."""
        where, values = "", []
        for column, value in (("grp", group), ("host", host)):
            if value is not None:
                where += f" {'and' if where else 'where'} {column} = ?"
                values.append(value)
        query = f"select {_COLUMNS} from dumps{where} order by seconds, directory"  # noqa: S608  # ours
        return [_dump(row) for row in self.connection.execute(query, values)]

    def smallest_core(self, host: str, of: int = 5) -> int | None:
        """The fewest bytes that one of the last whole cores of `host` took."""
        (size,) = self.connection.execute(
            "select min(core_bytes) from (select core_bytes from dumps where host = ? and complete"
            " and cores order by seconds desc limit ?)",
            (host, of),
        ).fetchone()
        return None if size is None else int(size)

    def use(self, host: str = ALL) -> Use:
        """What `host`, or everything, takes."""
        row = self.connection.execute("select bytes, reserved from used where host = ?", (host,)).fetchone()
        return Use(*row) if row else Use()

    def hosts(self) -> list[HostUse]:
        """Every host that has dumps or sends one, the one that takes most first."""
        rows = self.connection.execute(
            "select host, dumps, bytes, reserved from used where host != '' and (dumps or reserved)"
            " order by bytes desc, host"
        )
        return [HostUse(host, dumps, Use(size, reserved)) for host, dumps, size, reserved in rows]

    def count(self, host: str) -> int:
        """How many dumps `host` has."""
        row = self.connection.execute("select dumps from used where host = ?", (host,)).fetchone()
        return int(row[0]) if row else 0

    def reserve(self, reservation: Reservation) -> None:
        """Promise bytes to one more upload."""
        self.connection.execute(
            "insert into uploads values (?, ?, ?, ?, ?)",
            (
                reservation.id,
                reservation.host,
                reservation.directory,
                reservation.bytes,
                reservation.since,
            ),
        )

    def change(self, id_: str, *, bytes: int | None = None, directory: str | None = None) -> None:  # noqa: A002  # the unit
        """It gets another number of bytes, or its dump is known now."""
        if bytes is not None:
            self.connection.execute("update uploads set bytes = ? where id = ?", (bytes, id_))
        if directory is not None:
            self.connection.execute("update uploads set directory = ? where id = ?", (directory, id_))

    def release(self, id_: str) -> None:
        """The upload is over."""
        self.connection.execute("delete from uploads where id = ?", (id_,))

    def uploads(self) -> list[Reservation]:
        """Every upload that was promised bytes."""
        return [Reservation(*row) for row in self.connection.execute("select * from uploads")]


def _dump(row: tuple[Any, ...]) -> Dump:
    id_, directory, host, group, seconds, complete, cores, core_bytes, rest_bytes, pinned = row
    whole, kept = bool(complete), bool(pinned)
    return Dump(id_, directory, host, group, seconds, whole, cores, core_bytes, rest_bytes, kept)


def _connect(path: Path) -> sqlite3.Connection:
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    # A power cut may break it: the next start checks, and the manifests tell everything again.
    connection.execute("pragma synchronous=off")
    return connection


def _statements(script: str) -> Iterator[str]:
    """The statements of `script`: executescript() would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _said(error: sqlite3.Error, path: Path) -> OSError:
    full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return OSError(errno.ENOSPC if full else errno.EIO, f"{path.name}: {error}", str(path))
