"""Only one process tells: of those on one state directory, or of all machines on one PostgreSQL."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from receiver.catalogue.store import Catalogue

NOTIFYING: Final = 0x6B64756D72  # of PostgreSQL's advisory locks, the notifier's: "kdump" + 2


class Turn:
    """Held until `close`, or until the process dies. Blocks; one thread at a time."""

    def __init__(self, catalogue: Catalogue, state: Path) -> None:
        self._engine = catalogue.engine
        self._path = state / "notify.lock"
        self._fd: int | None = None
        self._connection: sa.Connection | None = None

    def take(self) -> bool:
        """Whether it is ours, now. Ask again now and then: a connection may be lost, and the turn with it."""
        if self._engine.dialect.name == "postgresql":
            return self._take_on_postgresql()
        if self._fd is None:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._fd = fd
        return True

    def _take_on_postgresql(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.exec_driver_sql("select 1")
                return True
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(sa.select(sa.func.pg_try_advisory_lock(NOTIFYING))).scalar():
                self._connection = connection
                return True
            connection.close()
        except sa.exc.SQLAlchemyError:
            self.close()
            raise
        return False

    def close(self) -> None:
        """Let another one."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # closes it: the lock goes with the session
            connection.close()
