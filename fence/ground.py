"""What the daemon stands on before it can run: state directory, lock, journal, sockets, open files."""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import resource
import socket
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from fence.cloud import iso
from fence.failure import Failure
from fence.settings import PORT, Settings
from fence.store import Store
from fence.udp import ListenError, Where, open_socket

FILES_MAX: Final = 1 << 20  # open files; a question that waits has one
DEFAULT_LISTEN: Final = (Where("0.0.0.0", PORT), Where("::", PORT))  # noqa: S104 -- as the C agent does
log = logging.getLogger("kdump-fence")


class StateError(Failure):
    """The state directory cannot be had."""

    exit_code = 73  # EX_CANTCREAT


def lock(directory: Path) -> int:
    """Make the directory, and hold it for this process alone; gives the open file that does.

    Raises:
        StateError: it cannot be made or written, or another daemon holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise StateError(f"{directory}: another kdump-fence uses it; say another --state-dir") from None
    except OSError as error:
        raise StateError(f"{directory}: {error.strerror}; say another --state-dir") from None
    return held


def open_store(path: Path) -> tuple[Store, str | None]:
    """The journal; a damaged one is put aside and a new one begun, and the second value says so.

    Nothing is fresh after that, and a signed session would be taken for new: better than no daemon.

    Raises:
        StateError: not even a new one can be made.
    """
    for notice in (None, f"the journal was damaged and is now {path}.damaged; a new one was begun"):
        try:
            return Store(path), notice
        except sqlite3.OperationalError as error:
            raise StateError(f"{path}: {error}; see its directory and disk") from None
        except sqlite3.DatabaseError as error:
            log.error("journal.damaged file=%s reason=%s at=%s", path, error, iso(time.time()))
            _put_aside(path)
    raise StateError(f"{path}: a new journal cannot be made")


def _put_aside(path: Path) -> None:
    with suppress(OSError):
        path.replace(f"{path}.damaged")
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def udp_sockets(settings: Settings) -> list[socket.socket]:
    """The sockets of the settings; by default every address of the families this host has.

    Raises:
        ListenError: one of them cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        for where in settings.listen or DEFAULT_LISTEN:
            if settings.listen is None and not _has_family(where):
                continue
            sockets.append(open_socket(where, settings.receive_buffer))
    except ListenError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _has_family(where: Where) -> bool:
    """Whether an address of the family can be bound at all: IPv6 may be switched off."""
    try:
        with socket.socket(where.family, socket.SOCK_DGRAM) as sock:
            sock.bind((where.host, 0))
    except OSError as error:
        return error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True


def calm_collector() -> None:
    """What is there now stays: Python need not look at it again while somebody waits for an answer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def allow_many_files() -> None:
    """Raise the limit of open files as far as we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
