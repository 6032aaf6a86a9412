"""Which kdump is speaking? Read from what it says; nothing else depends on it.

A dump takes several connections, each of which tells a little. A `Family` is the set of
clients that still fit all that was heard; `observe` narrows it. What only one kdump says
(its commands, its file and directory names) outweighs how it travels (ssh's banner, scp over
SFTP): an admin may put any ssh on any machine.

Sources: mkdumprd, kdump.init (RHEL5, RHEL6), dracut-kdump.sh (RHEL7), kdump.sh (kdump-utils),
kdump-config (Debian), kdumptool and kdump-save (SUSE); the forms by version are in tests/.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from receiver.wire.commands import (
    Command,
    DiskFree,
    EchoTo,
    Exit,
    InstallKey,
    ListLong,
    MakeDirectory,
    MakeTemporary,
    Move,
    RemoveDirectory,
    ScpSink,
    ScpSource,
    Write,
)
from receiver.wire.paths import ClientPath


class Family(enum.Flag):
    """The clients that fit what was heard so far."""

    KDUMP_UTILS = enum.auto()  # Fedora and RHEL8 on: kexec-tools since late 2020, kdump-utils since 2023
    RHEL7 = enum.auto()  # also Fedora 17 to 33 and RHEL8.0 to 8.3, until they upload their log
    RHEL6 = enum.auto()
    RHEL6_0 = enum.auto()
    RHEL5 = enum.auto()
    DEBIAN = enum.auto()  # also Ubuntu and SONiC
    SUSE_KDUMPTOOL = enum.auto()  # SLE10 to SLE15 SP5, ssh:// and sftp://
    SUSE_KDUMP_SAVE = enum.auto()  # SLE15 SP6 on, ssh://
    SUSE_LFTP = enum.auto()  # SLE15 SP6 on, sftp://

    UNKNOWN = (
        KDUMP_UTILS | RHEL7 | RHEL6 | RHEL6_0 | RHEL5 | DEBIAN | SUSE_KDUMPTOOL | SUSE_KDUMP_SAVE | SUSE_LFTP
    )

    @property
    def label(self) -> str:
        """The client's name when one is left, else ``unknown``."""
        return _LABELS.get(self, "unknown")

    @property
    def text(self) -> str:
        """All that is left, for the next connection to go on from: ``rhel6|rhel6.0``, or ``unknown``."""
        return "unknown" if self is Family.UNKNOWN else "|".join(_LABELS[one] for one in self)

    @classmethod
    def from_text(cls, text: str) -> Family:
        """The inverse of `text`; names of another version of this program are left out."""
        family = cls(0)
        for one, label in _LABELS.items():
            if label in text.split("|"):
                family |= one
        return family or cls.UNKNOWN


_LABELS = {
    Family.KDUMP_UTILS: "kdump-utils",
    Family.RHEL7: "rhel7",
    Family.RHEL6: "rhel6",
    Family.RHEL6_0: "rhel6.0",
    Family.RHEL5: "rhel5",
    Family.DEBIAN: "debian",
    Family.SUSE_KDUMPTOOL: "suse-kdumptool",
    Family.SUSE_KDUMP_SAVE: "suse-kdump-save",
    Family.SUSE_LFTP: "suse-lftp",
}

_RHEL_5_6 = Family.RHEL5 | Family.RHEL6_0 | Family.RHEL6
_RED_HAT = _RHEL_5_6 | Family.RHEL7 | Family.KDUMP_UTILS
_SUSE_NEW = Family.SUSE_KDUMP_SAVE | Family.SUSE_LFTP
_SUSE = Family.SUSE_KDUMPTOOL | _SUSE_NEW


@dataclass(frozen=True, slots=True)
class Banner:
    """The version string of the client's ssh, without ``SSH-2.0-``."""

    text: str


@dataclass(frozen=True, slots=True)
class SftpFile:
    """A file or directory made over SFTP, and the protocol version that was agreed on."""

    path: ClientPath
    version: int


Observation = Command | Banner | SftpFile


@dataclass(frozen=True, slots=True)
class _Sign:
    """What a whole name looks like, and who makes such names."""

    pattern: re.Pattern[str]
    families: Family


def _sign(pattern: str, families: Family) -> _Sign:
    return _Sign(re.compile(pattern), families)


_DAY = r"(19|20)\d\d-[01]\d-[0-3]\d"
# The first that fits counts; `.+-` is an address or a host name.
_DIRECTORIES = (
    _sign(rf".+-{_DAY}-\d\d:\d\d:\d\d", _RED_HAT),  # %Y-%m-%d-%T
    _sign(r".+-20\d\d\.[01]\d\.[0-3]\d-\d\d:\d\d:\d\d", Family.RHEL7),  # Fedora 18 to 21
    _sign(r"[0-3]\d\.[01]\d\.\d\d-\d\d:\d\d:\d\d", Family.RHEL7),  # Fedora 17
    _sign(r"kdump-test-\d+-\d+", Family.KDUMP_UTILS),
    _sign(r".+-20\d{10}", Family.DEBIAN),  # %Y%m%d%H%M
    _sign(rf"(.+-)?{_DAY}-\d\d:\d\d", Family.SUSE_KDUMPTOOL),  # no host before 0.9.0
    _sign(rf".+-{_DAY}-\d\d-\d\d", _SUSE_NEW),
)
# Without the `-incomplete` of a file under way.
_FILES = (
    _sign(r"vmcore-dmesg(-incomplete)?\.txt", Family.RHEL6 | Family.RHEL7 | Family.KDUMP_UTILS),
    _sign(r"vmcore\.flat", _RED_HAT & ~Family.RHEL5),
    _sign(r"kexec-dmesg\.log|opalcore|vmcore-creation\.status", Family.KDUMP_UTILS),
    _sign(r"(dump|dmesg|vmcore)\.20\d{10}(\..+)?|dump(-incomplete\..+)?", Family.DEBIAN),
    _sign(r"dmesg\.txt|makedumpfile-R\.pl|rearrange\.sh|System\.map-.+", Family.SUSE_KDUMPTOOL),
    _sign(r"README\.txt", _SUSE),
    _sign(r"dmesg", _SUSE_NEW),
)
# OpenSSH as each distribution shipped it.
_BANNERS = (
    _sign(r".*(Debian|Ubuntu|Raspbian).*", Family.DEBIAN),
    _sign(r"libssh2_.*", Family.SUSE_KDUMPTOOL),
    _sign(r"OpenSSH_4\.3.*", Family.RHEL5),
    _sign(r"OpenSSH_5\.3.*", Family.RHEL6 | Family.RHEL6_0),
    _sign(r"OpenSSH_(6\.6|7\.\d).*", Family.RHEL7 | Family.SUSE_KDUMPTOOL),
    _sign(r"OpenSSH_(8|9|\d\d)\..*", Family.KDUMP_UTILS | _SUSE),
)


def observe(previous: Family, observation: Observation) -> Family:
    """Narrow `previous` by one thing heard.

    Where the two exclude each other, what a kdump said itself wins, newest first; what
    only its ssh shows is dropped.
    """
    match observation:
        case Banner(text):
            return (previous & _first(_BANNERS, text)) or previous
        case SftpFile(path, version):
            # lftp asks for version 6; scp of OpenSSH 9 and kdumptool speak 3.
            travels = Family.SUSE_LFTP if version > 3 else ~(_RHEL_5_6 | _SUSE_NEW)
            named = _narrow(previous, _by_name(path))
            return (named & travels) or named
        case Exit() | InstallKey():
            return previous
        case Move(old, new):
            names = _narrow(_by_name(old), _by_name(new))
        case MakeDirectory(path) | MakeTemporary(path) | RemoveDirectory(path) | DiskFree(path):
            names = _by_name(path)
        case Write(path) | EchoTo(path=path) | ListLong(path) | ScpSink(path) | ScpSource(path):
            names = _by_name(path)
        case _:
            assert_never(observation)
    return _narrow(previous, _narrow(names, _by_command(observation)))


def narrowed(client: str, heard: Iterable[Observation]) -> str:
    """`client`, a family's text, after all of `heard`; what a dump's manifest keeps between connections."""
    family = Family.from_text(client)
    for observation in heard:
        family = observe(family, observation)
    return family.text


def _narrow(previous: Family, possible: Family) -> Family:
    return (previous & possible) or possible


def _first(signs: tuple[_Sign, ...], text: str) -> Family:
    for sign in signs:
        if sign.pattern.fullmatch(text):
            return sign.families
    return Family.UNKNOWN


def _by_name(path: ClientPath) -> Family:
    """By the dump directory (the path itself, or the one it lies in) and by the file's name."""
    family = Family.UNKNOWN
    for part in path.parts[-2:]:
        family = _narrow(family, _first(_DIRECTORIES, part))
    return _narrow(family, _first(_FILES, path.name.removesuffix("-incomplete")))


def _by_command(
    command: MakeDirectory | MakeTemporary | DiskFree | RemoveDirectory | Write | Move | ListLong | EchoTo
    | ScpSink | ScpSource,
) -> Family:  # fmt: skip
    match command:
        case MakeDirectory(path, parents):
            if _first(_DIRECTORIES, path.name) is Family.UNKNOWN:
                return Family.UNKNOWN
            # RHEL5 and RHEL6 make the parents when the service starts, and this one with a plain mkdir.
            return ~(_RHEL_5_6 | _SUSE_NEW) if parents else _RHEL_5_6
        case MakeTemporary() | RemoveDirectory():
            return _RED_HAT
        case DiskFree(path, form):
            if form == "avail":
                return Family.KDUMP_UTILS
            return Family.RHEL6 | Family.RHEL6_0 if path.name.startswith("tmp.") else Family.RHEL7
        case Write():
            return _by_write(command)
        case Move():
            return Family.KDUMP_UTILS if command.quoted else _RED_HAT | Family.DEBIAN
        case ListLong():
            return _RHEL_5_6
        case EchoTo() | ScpSource():
            return Family.KDUMP_UTILS
        case ScpSink():
            # The one upload into a directory is kdump-utils' log.
            return Family.KDUMP_UTILS if command.path.trailing_slash else _RED_HAT | Family.DEBIAN
        case _:
            assert_never(command)


def _by_write(write: Write) -> Family:
    match write:
        case Write(tool="cat"):
            return Family.SUSE_KDUMP_SAVE if write.make_parent else Family.RHEL6_0
        case Write(then_move_to=ClientPath()):
            return Family.SUSE_KDUMPTOOL
        case Write(umask=str()):
            return Family.KDUMP_UTILS
        case Write(block_bytes=512):
            return Family.RHEL7
        case Write(path=path) if path.name.startswith("vmcore-dmesg"):
            return Family.RHEL6 | Family.RHEL7
    return Family.RHEL6 | Family.DEBIAN
