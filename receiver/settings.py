"""The settings file: TOML, every key checked, every error naming file, key and reason."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from receiver.failure import Failure

DEFAULT_FILE: Final = Path("/etc/kdump-net/receiver.toml")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"(\d+)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)


class SettingsError(Failure):
    """The settings file says something we cannot obey."""

    exit_code = 78  # EX_CONFIG


def _bytes(value: object) -> object:
    """``"16T"``, ``"1 GiB"`` or a number: bytes, units of 1024."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if not found:
            raise ValueError('say a number of bytes or a size like "16T"')
        return int(found[1]) * _UNITS[found[2].lower()]
    return value


Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
PORT_PATTERN: Final = r"^(\[[0-9a-fA-F:.%\w]+\]|[^:\[\]]*):\d{1,5}$"
WEB_PATTERN: Final = PORT_PATTERN.removesuffix("$") + "$|^$"  # empty: no web server
Port = Annotated[str, Field(pattern=PORT_PATTERN)]


class Settings(BaseModel):
    """How the receiver runs. The defaults serve without any file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Path = Path("/var/crash")
    state_dir: Path | None = None
    listen: tuple[Port, ...] = (":2222",)
    legacy_algorithms: bool = True
    user_ca: Path | None = None
    catalogue: str | None = None
    max_dump_bytes: Bytes = 16 << 40
    keep_free: Bytes = 1 << 30
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    login_seconds: Annotated[float, Field(gt=0, le=600)] = 30
    silence_seconds: Annotated[float, Field(ge=5, le=86_400)] = 120
    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 30
    truncated_status: Annotated[int, Field(ge=0, le=125)] = 0
    overrides: Path | None = None
    analysis: bool = True
    analysis_seconds: Annotated[float, Field(gt=0, le=86_400)] = 120
    analysis_memory: Bytes = 4 << 30
    debuginfo: tuple[Path, ...] = (Path("/usr/lib/debug"),)
    debuginfod: tuple[str, ...] = ()
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    fence_url: Annotated[str, Field(pattern=r"^(https?://|unix:///)\S+$")] | None = None
    fence_token_file: Path | None = None
    web: Annotated[str, Field(pattern=WEB_PATTERN)] = "127.0.0.1:8080"
    web_tls_certificate: Path | None = None
    web_tls_key: Path | None = None
    behind_proxy: bool = False

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.web_tls_certificate is None) != (self.web_tls_key is None):
            raise ValueError("web_tls_certificate and web_tls_key belong together; one is missing")
        return self

    @property
    def state(self) -> Path:
        """Where hosts, tokens, our keys and the catalogue lie."""
        return self.state_dir or self.root / ".state"

    @property
    def catalogue_url(self) -> str:
        """The catalogue's database, as SQLAlchemy names it."""
        return self.catalogue or f"sqlite:///{(self.state / 'catalogue.sqlite').absolute()}"


def load(path: Path | None, **overrides: Any) -> Settings:
    """Read `path` (or the system's file, where there is one); `overrides` of the command line win.

    Raises:
        SettingsError: not readable, no TOML, an unknown key or a value that does not fit.
    """
    named = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    values: dict[str, Any] = {}
    if named is not None:
        try:
            values = tomllib.loads(named.read_text())
        except OSError as error:
            raise SettingsError(f"{named}: {error.strerror}; say another file with --config") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{named}: not TOML: {error}") from None
    values |= {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(named, problem) for problem in error.errors())) from None


def _explain(path: Path | None, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    where = path or "the command line"
    if problem["type"] == "extra_forbidden":
        return f"{where}: {key}: no such setting; the sample file explains every key"
    reason = problem["msg"].removeprefix("Value error, ")
    if not key:  # of several keys together
        return f"{where}: {reason}"
    return f"{where}: {key}: {reason}, not {problem['input']!r}"
