"""The settings file: TOML, every key checked, every error naming file, key and reason."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from receiver.failure import Failure

DEFAULT_FILE: Final = Path("/etc/kdump-net/receiver.toml")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"(\d+)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*%")
_SPAN = re.compile(
    r"(\d{1,9})\s*(?:(?=[smhdwy])(s|m|h|d|w|y)(?:ec(?:onds?)?|in(?:utes?)?|(?:ou)?rs?|ays?|eeks?|ears?)?)",
    re.IGNORECASE,
)
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


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


def _amount(value: object) -> object:
    """Bytes, or a part of the file system: ``"5%"``."""
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())):
        if float(found[1]) > 100:
            raise ValueError("a part of the file system is at most 100%")
        return f"{found[1]}%"
    try:
        size = _bytes(value)
    except ValueError:
        raise ValueError('say a number of bytes, a size like "16T", or a part like "5%"') from None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError('say a number of bytes, a size like "16T", or a part like "5%"')
    return size


def _span(value: object) -> object:
    """``"90d"``, ``"2 years"`` or a number: seconds."""
    if isinstance(value, str):
        found = _SPAN.fullmatch(value.strip())
        if not found:
            raise ValueError('say a number of seconds or a time like "90d", "12h", "2y"')
        return float(found[1]) * _SPANS[found[2].lower()]
    return value


Amount = Annotated[int | str, BeforeValidator(_amount)]
Span = Annotated[float, BeforeValidator(_span), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
Port = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.%\w]+\]|[^:\[\]]*):\d{1,5}$")]


class Retention(BaseModel):
    """What stays how long. Left out: no such rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    core_age: Span | None = None
    dump_age: Span | None = None
    cores_per_host: Annotated[int, Field(ge=1)] | None = None
    cores_per_group: Annotated[int, Field(ge=0)] | None = None
    keep: tuple[Literal["group-first", "group-last", "host-last"], ...] = (
        "group-first",
        "group-last",
        "host-last",
    )
    evict: bool = True
    storm_cores: Annotated[int, Field(ge=1)] | None = None
    storm_window: Span = 3600.0


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
    keep_free: Amount = 1 << 30
    max_use: Amount | None = None
    host_quota: Amount | None = None
    dumps_per_host: Annotated[int, Field(ge=1)] = 1000
    prune_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300
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
    events_keep: Annotated[int, Field(ge=100, le=100_000_000)] = 100_000
    events_days: Annotated[float, Field(gt=0, le=36_500)] = 90
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    fence_url: Annotated[str, Field(pattern=r"^(https?://|unix:///)\S+$")] | None = None
    fence_token_file: Path | None = None
    quota: dict[str, Amount] = Field(default_factory=dict)
    retention: Retention = Retention()

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
    return f"{where}: {key}: {reason}, not {problem['input']!r}"
