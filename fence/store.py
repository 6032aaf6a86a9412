"""The journal's file: events, what is remembered of each node, and how far each consumer is. Blocking."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable
from contextlib import closing
from pathlib import Path

from fence.cloud import Stored

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    node TEXT,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_node ON events (node, id);
CREATE TABLE IF NOT EXISTS standing (
    node TEXT PRIMARY KEY,
    clock TEXT NOT NULL,
    line TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS consumers (
    name TEXT PRIMARY KEY,
    id INTEGER NOT NULL
) WITHOUT ROWID;
"""
VERSION = 1  # PRAGMA user_version
CUT = 0.1  # the part of the events that goes when the file is too large


class Store:
    """One SQLite file in WAL mode; each `write` is durable when it returns."""

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Raises:
            sqlite3.Error: not a database, of another version, or not writable.
        """
        self.path = path
        # The journal's one thread at a time uses it: see Journal.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"journal of version {version}, this daemon knows {VERSION}")
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            # A reader of a damaged file would be told only in the middle of a crash.
            self._db.execute("SELECT count(*) FROM events").fetchone()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Write what WAL holds into the file, and close it."""
        self._db.close()

    def last_id(self) -> int:
        """The newest id ever given, even if its event is gone."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return row[0] if row else 0

    def last_kind(self) -> str | None:
        """What the newest event was."""
        row = self._db.execute("SELECT kind FROM events ORDER BY id DESC LIMIT 1").fetchone()
        return row[0] if row else None

    def forget(self, nodes: Container[str], clock: str) -> None:
        """Drop what is remembered of other nodes than these, but for what this boot still knows."""
        rows = self._db.execute("SELECT node FROM standing WHERE clock != ?", (clock,)).fetchall()
        gone = [row for row in rows if row[0] not in nodes]
        self._db.executemany("DELETE FROM standing WHERE node = ?", gone)

    def write(
        self,
        events: Iterable[Stored],
        standing: Iterable[tuple[str, str, str]] = (),
        consumers: Iterable[tuple[str, int]] = (),
    ) -> None:
        """All or nothing. ``standing``: node, clock, line; ``consumers``: name, id."""
        rows = [(event.id, event.time, event.kind, event.node, event.data) for event in events]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO standing VALUES (?, ?, ?)", standing)
            self._db.executemany("INSERT OR REPLACE INTO consumers VALUES (?, ?)", consumers)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def read(self, after: int, limit: int, node: str | None = None) -> list[Stored]:
        """Events after an id, oldest first; only those of ``node`` where one is given."""
        where, values = ("AND node = ?", (after, node, limit)) if node is not None else ("", (after, limit))
        query = f"SELECT id, time, kind, node, data FROM events WHERE id > ? {where} ORDER BY id LIMIT ?"  # noqa: S608 -- no value in it
        with closing(self._db.execute(query, values)) as rows:
            return [Stored(*row) for row in rows]

    def standing(self) -> dict[str, tuple[str, str]]:
        """Clock and line of every node."""
        return {node: (clock, line) for node, clock, line in self._db.execute("SELECT * FROM standing")}

    def consumers(self) -> dict[str, int]:
        """How far each consumer is."""
        return dict(self._db.execute("SELECT * FROM consumers").fetchall())

    def prune(self, before: float, max_bytes: int) -> int:
        """Forget events older than Unix time ``before``, and the oldest while the file is too large.

        Gives how many went. The file shrinks a part at a time.
        """
        count = self._db.execute("DELETE FROM events WHERE time < ?", (before,)).rowcount
        if self._size() > max_bytes:
            (number,) = self._db.execute("SELECT count(*) FROM events").fetchone()
            cut = max(1, int(number * CUT))
            count += self._db.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?)", (cut,)
            ).rowcount
        if count:
            # It gives up a page a step, and `execute` takes only one.
            self._db.executescript("PRAGMA incremental_vacuum")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return count

    def _size(self) -> int:
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)
