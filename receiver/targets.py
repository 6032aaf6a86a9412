"""The ``[[notify]]`` blocks of the settings: who is told of what, and how."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from receiver.events import KINDS

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Block(BaseModel):
    """What every kind of target has: the choice of events, and bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    events: tuple[str, ...] = ("dump.reported", "upload.failed")
    new_group: bool = False
    hosts: tuple[str, ...] = ("*",)
    classes: tuple[str, ...] = ()
    verdicts: tuple[Literal["complete", "truncated", "damaged", "unknown"], ...] = ()
    burst: Annotated[int, Field(ge=0, le=1000)] = 5
    period_seconds: Seconds = 300
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10
    give_up_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 72
    keep: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000

    @field_validator("events")
    @classmethod
    def _known(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in events:
            if not fnmatch.filter(KINDS, pattern):
                raise ValueError(f"{pattern!r}: no such event; there are {', '.join(sorted(KINDS))}")
        return events


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("say http://HOST/… or https://HOST/…")
    if parts.username or parts.password:
        raise ValueError("no password in a URL; say token_file")
    return url


class Webhook(Block):
    """CloudEvents 1.0 over HTTP, signed as standardwebhooks.com has it."""

    kind: Literal["webhook"]
    url: str
    secret_files: tuple[Path, ...] = ()
    secret_env: tuple[str, ...] = ()
    token_file: Path | None = None
    ca: Path | None = None

    _checked = field_validator("url")(_url)


class Apprise(Block):
    """Mail, chat and the like, by Apprise's URLs, which hold passwords."""

    kind: Literal["apprise"]
    urls: tuple[SecretStr, ...] = ()
    urls_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60

    @model_validator(mode="after")
    def _some(self) -> Apprise:
        if not self.urls and self.urls_file is None:
            raise ValueError("say urls or urls_file")
        return self


class Program(Block):
    """A program that gets the event as JSON on standard input."""

    kind: Literal["program"]
    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30

    @field_validator("argv")
    @classmethod
    def _absolute(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not Path(argv[0]).is_absolute():
            raise ValueError(f"{argv[0]!r}: say the program's absolute path")
        return argv


class Fence(BaseModel):
    """A kdump-fence: evidence that a node's capture kernel runs (docs/fence-api.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fence"]
    name: Name
    socket: Path | None = None
    url: str | None = None
    token_file: Path | None = None
    ca: Path | None = None
    hosts: tuple[str, ...] = ("*",)
    nodes: dict[str, str] = {}
    beat_seconds: Annotated[float, Field(ge=0.5, le=10)] = 3
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    give_up_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 1
    keep: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000

    @field_validator("url")
    @classmethod
    def _checked(cls, url: str | None) -> str | None:
        return url if url is None else _url(url)

    @model_validator(mode="after")
    def _one(self) -> Fence:
        if (self.socket is None) == (self.url is None):
            raise ValueError("say either socket or url")
        return self


Target = Webhook | Apprise | Program | Fence
AnyTarget = Annotated[Target, Field(discriminator="kind")]


def distinct(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Each name once: the outbox knows a target by it."""
    names = [target.name for target in targets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the name {twice[0]!r} is given twice")
    return targets
