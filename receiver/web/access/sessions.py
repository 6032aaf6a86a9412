"""Browsers that are logged in, a file each: they outlive a restart, and a logout ends them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver.hosts import records
from receiver.hosts.records import Damaged, open_directory

LASTS_SECONDS: Final = 12 * 3600.0
MOST: Final = 2000  # the oldest ends first
_KEY_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Session:
    """A browser of the login `login`; `key` is its cookie, which only the browser keeps."""

    key: str
    login: str
    began: float  # seconds of the epoch

    @property
    def csrf(self) -> str:
        """What its forms carry."""
        return hmac.new(self.key.encode(), b"csrf", hashlib.sha256).hexdigest()


class Sessions:
    """All sessions, below `state`. Methods block; they raise StateError."""

    def __init__(self, state: Path) -> None:
        self._directory = open_directory(state / "sessions")

    def begin(self, login: str, now: float) -> Session:
        """A new one."""
        self._clear(now)
        session = Session(secrets.token_urlsafe(32), login, now)
        records.write(self._path(session.key), {"login": login, "began": now})
        return session

    def find(self, key: str, now: float) -> Session | None:
        """The session of this cookie, while it lasts."""
        if not key or len(key) > _KEY_MAX:
            return None
        try:
            found = records.read(self._path(key))
            if found is None:
                return None
            session = Session(key, str(found["login"]), float(found["began"]))
        except (Damaged, KeyError, TypeError, ValueError):
            return None
        return session if 0 <= now - session.began < LASTS_SECONDS else None

    def end(self, key: str) -> None:
        """Logged out."""
        if key and len(key) <= _KEY_MAX:
            self._path(key).unlink(missing_ok=True)

    def _clear(self, now: float) -> None:
        ages: list[tuple[float, Path]] = []
        for path in self._directory.glob("[!.]*.json"):
            with suppress(FileNotFoundError):
                ages.append((path.stat().st_mtime, path))
        ages.sort(reverse=True)
        for place, (began, path) in enumerate(ages):
            if place >= MOST - 1 or now - began >= LASTS_SECONDS:
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        # The name tells nothing: who reads the directory has no cookie.
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
