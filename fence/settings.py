"""The settings: TOML, every key checked, every error naming file, key and reason."""

from __future__ import annotations

import grp
import pwd
import re
import tomllib
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from fence.events import GRADES, Grade
from fence.failure import Failure
from fence.message import NODE_NAME
from fence.udp import Where

DEFAULT_FILE: Final = Path("/etc/kdump-net/fence.toml")
PORT: Final = 7410
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
NEVER_SHOWN = "keys"  # what stands under this key is secret

M = TypeVar("M", bound=BaseModel)


class SettingsError(Failure):
    """The settings say something we cannot obey."""

    exit_code = 78  # EX_CONFIG


def _bytes(value: object) -> object:
    """``"8M"``, ``"64 MiB"`` or a number: bytes, units of 1024."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if not found:
            raise ValueError('say a number of bytes or a size like "8M"')
        return int(found[1]) * _UNITS[found[2].lower()]
    return value


def _where(value: object, default_port: int = PORT) -> Where:
    """``ADDR``, ``ADDR:PORT``, ``V6``, ``[V6]``, ``[V6]:PORT``."""
    if isinstance(value, Where):
        return value
    text = str(value)
    bracketed = re.fullmatch(r"\[([^]]+)\](?::(\d{1,5}))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif text.count(":") > 1:
        host, port = text, None
    else:
        host, _, port = text.partition(":")
    try:
        ip_address(host)
    except ValueError:
        raise ValueError('say an address to listen on, like "0.0.0.0:7410" or "[::]:7410"') from None
    number = int(port) if port else default_port
    if number > 65535:
        raise ValueError("a port is at most 65535")
    return Where(host, number)


def _grade(value: object, worst: Grade = Grade.UDP) -> Grade:
    if isinstance(value, Grade):
        return value
    grade = GRADES.get(str(value))
    if grade is None or grade < worst:
        raise ValueError(f"say one of {', '.join(name for name, each in GRADES.items() if each >= worst)}")
    return grade


def _user(value: object) -> int:
    """A user's name or number, as its number; -1 (nobody at all) where there is no such user here."""
    if isinstance(value, int):
        return value
    try:
        return int(str(value)) if str(value).isdigit() else pwd.getpwnam(str(value)).pw_uid
    except KeyError:
        return -1


def _group(value: object) -> int:
    try:
        return value if isinstance(value, int) else grp.getgrnam(str(value)).gr_gid
    except KeyError:
        raise ValueError("no such group on this host") from None


Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
Listening = Annotated[Where, PlainValidator(_where)]
Graded = Annotated[Grade, PlainValidator(_grade)]
AnyGrade = Annotated[Grade, PlainValidator(partial(_grade, worst=Grade.NONE))]
User = Annotated[int, BeforeValidator(_user)]
Group = Annotated[int, BeforeValidator(_group)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Scope = Literal["read", "alive", "evidence"]


class Block(BaseModel):
    """A table of the file: no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Policy(Block):
    """What counts; ``[policy]`` for all nodes, the same keys in a node's block for one."""

    off_grade: Graded = Grade.UDP
    window_seconds: Seconds = 25
    silent_seconds: Seconds = 30
    forget_seconds: Seconds = 3600
    max_skew_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 26


class NodeBlock(Block):
    """``[node.NAME]``."""

    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    id: Annotated[str, Field(pattern=NODE_NAME.pattern.decode())] | None = None
    keys: tuple[str, ...] = Field(default=(), repr=False)
    key_file: Path | None = None
    interfaces: tuple[str, ...] = ()
    ttl_min: Annotated[int, Field(ge=1, le=255)] | None = None
    off_grade: Graded | None = None
    window_seconds: Seconds | None = None
    silent_seconds: Seconds | None = None
    forget_seconds: Seconds | None = None
    max_skew_hours: Annotated[float, Field(gt=0, le=24 * 366)] | None = None


class Nodes(Block):
    """``[nodes]``: what holds for the list of nodes as a whole."""

    drop_in: Path = Path("/etc/kdump-net/fence.d")
    unlisted: Literal["resolve", "refuse"] = "resolve"
    unknown_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    resolve_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60


class Token(Block):
    """``[[api.token]]``: who may come by TCP. Only a hash is written down."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = ("read",)


class Api(Block):
    """``[api]``."""

    socket: Path = Path("/run/kdump-fence/api.sock")
    socket_mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "0660"
    socket_group: Group | None = None
    http: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    alive_users: tuple[User, ...] = Field(default_factory=lambda: (_user("hacluster"),))
    evidence_users: tuple[User, ...] = Field(default_factory=lambda: (_user("kdump-receiver"),))
    max_waits: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 1000
    token: tuple[Token, ...] = ()

    @property
    def where(self) -> Where | None:
        """Where to serve TCP."""
        return None if self.http is None else _where(self.http, 7411)

    @model_validator(mode="after")
    def _safe(self) -> Api:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if self.where and not self.certificate and not ip_address(self.where.host).is_loopback:
            raise ValueError("`http` on another address than loopback needs `certificate` and `key`")
        return self


class JournalBlock(Block):
    """``[journal]``."""

    max_days: Annotated[float, Field(gt=0, le=36_500)] = 90
    max_bytes: Annotated[Bytes, Field(ge=1 << 20)] = 256 << 20


class Push(Block):
    """What webhooks and programs have in common. ``events``: ends of types, ``node.*`` for all of a kind."""

    name: Annotated[str, Field(min_length=1)]
    events: tuple[str, ...] = ("node.dumping", "node.saved", "node.failed", "node.silent", "node.quiet")
    min_grade: AnyGrade = Grade.NONE
    timeout_seconds: Seconds = 10


class Webhook(Push):
    """``[[webhook]]``."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    token_file: Path | None = None
    ca: Path | None = None
    max_age_seconds: Annotated[float, Field(gt=0)] = 86_400


class Program(Push):
    """``[[program]]``."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    max_age_seconds: Annotated[float, Field(gt=0)] = 25


class Settings(Block):
    """How the daemon runs. The defaults serve without any file."""

    listen: tuple[Listening, ...] | None = Field(default=None, min_length=1)
    receive_buffer: Bytes = 8 << 20
    state_dir: Path = Path("/var/lib/kdump-fence")
    policy: Policy = Policy()
    nodes: Nodes = Nodes()
    api: Api = Field(default_factory=Api)
    journal: JournalBlock = JournalBlock()
    webhook: tuple[Webhook, ...] = ()
    program: tuple[Program, ...] = ()
    node: dict[str, NodeBlock] = Field(default_factory=dict)


def load(path: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """Read ``path`` (or the system's file, where there is one); ``overrides`` of the command line win.

    An override's key may be ``table.key``; None stands for "not said".

    Raises:
        SettingsError: not readable, no TOML, an unknown key or a value that does not fit.
    """
    named = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    values = read_toml(named) if named else {}
    for key, value in overrides.items():
        table, _, last = key.rpartition(".")
        if value is not None:
            (values.setdefault(table, {}) if table else values)[last] = value
    return checked(Settings, values, named or "the command line")


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises:
        SettingsError: not readable, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None


def checked(model: type[M], values: Mapping[str, Any], where: object) -> M:
    """The values as a model of ours.

    Raises:
        SettingsError: a line for each value that does not fit.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(where, problem) for problem in error.errors())) from None


def _explain(where: object, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: {key}: no such setting; the sample fence.toml explains every key"
    reason = problem["msg"].removeprefix("Value error, ")
    shown = (
        ""
        if NEVER_SHOWN in problem["loc"] or isinstance(problem["input"], dict)
        else f", not {problem['input']!r}"
    )
    return f"{where}: {key}: {reason}{shown}"
