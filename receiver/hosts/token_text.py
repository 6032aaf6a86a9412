"""A token as people type it: ``kdump-ID-SECRET``, the secret in groups of five. Sans-IO."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final

LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0 1 i l o: they look alike on paper
ID_LETTERS: Final = 6
SECRET_LETTERS: Final = 20  # 99 bits
PREFIX: Final = "kdump"
_GROUP: Final = 5
_TYPED_MAX: Final = 200  # characters; longer ones are no token, however they are spaced
_TOKEN = re.compile(rf"(?P<id>[{LETTERS}]{{{ID_LETTERS}}})(?P<secret>[{LETTERS}]{{{SECRET_LETTERS}}})")
_ID = re.compile(rf"[{LETTERS}]{{{ID_LETTERS}}}")


def new_id() -> str:
    """A random id: no secret, it names the token in lists and logs."""
    return _random(ID_LETTERS)


def new_secret() -> str:
    """A random secret."""
    return _random(SECRET_LETTERS)


def is_id(text: str) -> bool:
    """Whether `text` may be a token's id; then it is safe as a file's name, too."""
    return _ID.fullmatch(text) is not None


def spell(identifier: str, secret: str, *, prefix: str = PREFIX) -> str:
    """The token's text, to be shown once; `prefix` says what it is good for."""
    groups = [secret[at : at + _GROUP] for at in range(0, len(secret), _GROUP)]
    return "-".join((prefix, identifier, *groups))


def parse_untrusted(typed: str, *, prefix: str = PREFIX) -> tuple[str, str] | None:
    """Id and secret of what somebody typed, or None.

    Case, dashes and blanks do not matter.
    """
    if len(typed) > _TYPED_MAX:
        return None
    plain = re.sub(r"[\s-]", "", typed).lower()
    found = _TOKEN.fullmatch(plain.removeprefix(prefix)) if plain.startswith(prefix) else None
    return (found["id"], found["secret"]) if found else None


def digest(salt: str, secret: str) -> str:
    """What is kept of a secret. It is random and long, so one round of a fast hash does.

    There is no list of likely secrets to go through, which is what a slow hash protects from.
    """
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def matches(salt: str, kept: str, secret: str) -> bool:
    """Whether `secret` is the one that was kept; in the same time whether it is or not."""
    return hmac.compare_digest(digest(salt, secret).encode(), kept.encode())


def _random(letters: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(letters))
