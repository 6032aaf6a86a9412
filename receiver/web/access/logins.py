"""Login tokens of the page and the API, a file each below logins/: role and hash, never the secret."""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args

from receiver.durable import locked, sync_directory
from receiver.failure import Failure
from receiver.hosts import records, token_text
from receiver.hosts.records import Damaged, open_directory, unusable
from receiver.web.access.viewer import Role

PREFIX: Final = "kweb"  # a login's text begins so: nobody takes it for a host's enrolment token
MOST: Final = 1000
LONGEST_SECONDS: Final = 10 * 366 * 86400.0
NAME_MAX: Final = 64
_NOBODY: Final = ("", "0" * 64)  # salt and digest that no secret has


class LoginError(Failure):
    """A login that cannot be made."""

    exit_code = 65  # EX_DATAERR


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept of a login token."""

    id: str
    name: str  # whose it is, for the audit trail
    role: Role
    salt: str
    sha256: str
    expires: str | None  # UTC, ISO 8601
    created: str

    def is_valid(self, now: float) -> bool:
        """Whether it may be used at `now`, in seconds of the epoch."""
        return self.expires is None or self.expires > _stamp(now)


class Logins:
    """All login tokens, below `state`. Methods block.

    Raises:
        StateError: (every method) the directory cannot be used.
    """

    def __init__(self, state: Path) -> None:
        self._directory = open_directory(state / "logins")

    def create(
        self, *, name: str, role: Role, expires_in_seconds: float | None, now: float
    ) -> tuple[Login, str]:
        """A new login and its text, which is not kept.

        Raises:
            LoginError: no name, no role, no time, or one too many.
        """
        if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
            raise LoginError(f"{name[:80]!r}: a login's name is 1 to {NAME_MAX} printable characters")
        if role not in get_args(Role):
            raise LoginError(f"{role!r} is no role: say viewer or operator")
        if expires_in_seconds is not None and not 0 < expires_in_seconds <= LONGEST_SECONDS:
            raise LoginError("a login lasts ten years at most, and longer than no time at all")
        salt, secret = secrets.token_hex(16), token_text.new_secret()
        with self._locked():
            if len(self.all()) >= MOST:
                raise LoginError(f"there are {MOST} logins already; revoke those that nobody uses")
            identifier = token_text.new_id()
            while self._path(identifier).exists():
                identifier = token_text.new_id()
            login = Login(
                id=identifier,
                name=name.strip(),
                role=role,
                salt=salt,
                sha256=token_text.digest(salt, secret),
                expires=None if expires_in_seconds is None else _stamp(now + expires_in_seconds),
                created=_stamp(now),
            )
            records.write(self._path(identifier), asdict(login))
        return login, token_text.spell(identifier, secret, prefix=PREFIX)

    def check(self, typed: str, now: float) -> Login | None:
        """The login that `typed` is, while it is valid; found or not, it takes the same time."""
        identifier, secret = token_text.parse_untrusted(typed, prefix=PREFIX) or ("", "")
        login = self.find(identifier)
        salt, kept = (login.salt, login.sha256) if login else _NOBODY
        if not token_text.matches(salt, kept, secret) or login is None:
            return None
        return login if login.is_valid(now) else None

    def find(self, identifier: str) -> Login | None:
        """The login of that id; None where there is none, or only a damaged one."""
        if not token_text.is_id(identifier):
            return None
        try:
            found = records.read(self._path(identifier))
            return None if found is None else _login(found, self._path(identifier))
        except Damaged:
            return None

    def all(self) -> list[Login]:
        """Every login, the oldest first."""
        found = [self.find(path.stem) for path in self._directory.glob("[!.]*.json")]
        return sorted((login for login in found if login), key=lambda login: (login.created, login.id))

    def revoke(self, identifier: str) -> bool:
        """Whether there was such a login; there is none now, and its sessions are over."""
        if not token_text.is_id(identifier):
            return False
        with self._locked():
            try:
                self._path(identifier).unlink()
            except FileNotFoundError:
                return False
            sync_directory(self._directory)
        return True

    def _path(self, identifier: str) -> Path:
        return self._directory / f"{identifier}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with locked(self._directory):
                yield
        except OSError as error:
            raise unusable(error, self._directory) from None


def _login(found: dict[str, Any], path: Path) -> Login:
    try:
        login = Login(**found)
    except TypeError as error:
        raise Damaged(f"{path}: not a login: {error}") from None
    texts = (login.id, login.name, login.salt, login.sha256, login.created, login.expires or "")
    if not all(isinstance(text, str) for text in texts) or login.role not in get_args(Role):
        raise Damaged(f"{path}: not a login")
    if login.id != path.stem:
        raise Damaged(f"{path}: it holds the login {login.id!r}")
    return login


def _stamp(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
