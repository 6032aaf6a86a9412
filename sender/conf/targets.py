"""Where a dump may go: one record a kind of target, and the words that name them.

Sources: kdump.conf(5) of kdump-utils v1.0.61 and the header of RHEL 6's kdump.conf.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

FS_TYPES = ("ext2", "ext3", "ext4", "xfs", "btrfs", "minix", "virtiofs")
KINDS = ("raw", "nfs", "nfs4", "net", "ssh", *FS_TYPES)

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\$?")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9\-_.]*[A-Za-z0-9])?")
_SHELL_SAFE_PATH = re.compile(r"/[A-Za-z0-9_./+:@%,=\-~]*")


class BadValueError(ValueError):
    """A value that cannot be obeyed: what is wrong with it, what to write instead."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}; {instead}")
        self.what = what
        self.instead = instead


@dataclass(frozen=True, slots=True)
class Ssh:
    """``ssh USER@HOST``; ``port`` 0 leaves it to ssh_config. ``host`` carries no brackets."""

    user: str
    host: str
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class Nfs:
    """``nfs HOST:/EXPORT``; ``version`` is 3, 4 or 0 for what client and server agree on."""

    host: str
    export: str
    version: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.export}"


@dataclass(frozen=True, slots=True)
class Filesystem:
    """``ext4 /dev/sdb1``, ``xfs UUID=…``, ``ext4 LABEL=…``, ``virtiofs TAG``."""

    fstype: str
    device: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.fstype} {self.device}"


@dataclass(frozen=True, slots=True)
class Raw:
    """``raw /dev/sdb2``: the flattened stream from the partition's first byte."""

    device: str
    path: str = ""

    def __str__(self) -> str:
        return f"raw {self.device}"


@dataclass(frozen=True, slots=True)
class Local:
    """The file system of this host that holds ``path``: what is meant where no target is named."""

    path: str = ""

    def __str__(self) -> str:
        return "local"


Target = Ssh | Nfs | Filesystem | Raw | Local


def parse_target(kind: str, value: str) -> Target:
    """Read the value of a target line.

    Raises:
        BadValueError: with what to write instead.
    """
    words = value.split()
    if len(words) != 1:
        example = _EXAMPLES.get(kind, f"{kind} UUID=03138356-5e61-4ab3-b58e-27507ac41937")
        if not words:
            raise BadValueError(f"`{kind}` names no place", f"write `{example}`")
        raise BadValueError(f"`{kind} {value}` has words too many", f"write `{example}`")
    word = words[0]
    match kind:
        case "ssh":
            return _ssh(word)
        case "net":
            return _ssh(word) if "@" in word else _nfs(word, 0)
        case "nfs" | "nfs4":
            return _nfs(word, 4 if kind == "nfs4" else 0)
        case "raw":
            return Raw(_device(word, "raw"))
        case "virtiofs":
            if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,36}", word):
                raise BadValueError(
                    f"'{word}' is no virtiofs tag", "write the tag of the hypervisor's device"
                )
            return Filesystem("virtiofs", word)
        case _ if kind in FS_TYPES:
            return Filesystem(kind, _device(word, kind))
    raise BadValueError(f"'{kind}' is no kind of target", f"write one of {', '.join(KINDS)}")


def parse_fallback(value: str) -> Target:
    """``KIND PLACE [PATH]`` or ``local [PATH]``: where to go when the targets before it failed."""
    kind, *words = value.split() or [""]
    if kind == "local":
        path = words.pop() if words else ""
        target: Target = Local()
    elif kind in KINDS and kind != "net":
        path = words.pop() if len(words) == 2 else ""
        target = parse_target(kind, " ".join(words))
    else:
        raise BadValueError(
            f"'{kind}' is no kind of fallback target",
            "write `fallback ssh user@host` or `fallback local /var/crash`",
        )
    if words[1:] or (kind == "local" and words):
        raise BadValueError(f"`fallback {value}` has words too many", "write one target and at most one path")
    return replace(target, path=parse_path(path)) if path else target


def parse_path(value: str) -> str:
    """An absolute path without ``..``; ``%HOST`` and ``%DATE`` may stand in it."""
    if not value.startswith("/"):
        raise BadValueError(f"'{value}' is not an absolute path", "write it from the root: `path /var/crash`")
    if ".." in value.split("/"):
        raise BadValueError(f"'{value}' climbs with '..'", "write the path it leads to")
    if not _SHELL_SAFE_PATH.fullmatch(value):
        raise BadValueError(
            f"'{value}' holds characters that ssh servers and shells read differently",
            "use letters, digits and / _ . + : @ , = - ~",
        )
    unknown = [w for w in re.findall(r"%[A-Za-z]*", value) if not w.startswith(("%HOST", "%DATE"))]
    if unknown:
        raise BadValueError(f"'{unknown[0]}' stands for nothing", "write %HOST or %DATE")
    return re.sub(r"/+", "/", value).rstrip("/") or "/"


_EXAMPLES = {
    "ssh": "ssh user@my.server.com",
    "net": "ssh user@my.server.com",
    "nfs": "nfs my.server.com:/export/tmp",
    "nfs4": "nfs4 my.server.com:/export/tmp",
    "raw": "raw /dev/sda5",
    "virtiofs": "virtiofs myfs",
}


def _ssh(word: str) -> Ssh:
    rest = word.removeprefix("ssh://")
    user, at, place = rest.rpartition("@")
    if not at:
        raise BadValueError(f"`ssh {word}` names no user", f"write `ssh <user>@{rest}`")
    if ":" in user:
        raise BadValueError(
            "a password stands in the ssh target", f"write `ssh {user.split(':')[0]}@{place}`"
        )
    if not _USER.fullmatch(user):
        raise BadValueError(f"'{user}' is no user name", "write `ssh <user>@<host>`")
    host, port = _host_and_port(place)
    return Ssh(user, host, port)


def _host_and_port(place: str) -> tuple[str, int]:
    """``host``, ``host:22``, ``2001:db8::1``, ``[2001:db8::1]:22``."""
    if _is_v6(place):
        return place, 0
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", place)
    if bracketed:
        host, port = bracketed.groups()
        if not _is_v6(host):
            raise BadValueError(f"'[{host}]' is no IPv6 address", "write brackets round an IPv6 address only")
    else:
        host, colon, port = place.partition(":")
        _name(host)
        port = port if colon else None
    if port is None:
        return host, 0
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadValueError(f"'{port}' is no port", "write a number of 1 to 65535 after the host's `:`")
    return host, int(port)


def _nfs(word: str, version: int) -> Nfs:
    host, colon, export = word.rpartition(":/")
    if not colon:
        raise BadValueError(
            f"`nfs {word}` names no export", f"write `nfs {word.split(':')[0] or 'host'}:/export`"
        )
    bare = host.removeprefix("[").removesuffix("]")
    if not _is_v6(bare):
        _name(host)
        bare = host
    return Nfs(bare, parse_path("/" + export), version)


def _name(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise BadValueError(
            f"'{host}' is no host name or address", "write a DNS name, an IPv4 or an IPv6 address"
        )


def _is_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.split("%")[0]).version == 6
    except ValueError:
        return False


def _device(word: str, kind: str) -> str:
    label = re.fullmatch(r'(LABEL|UUID|PARTLABEL|PARTUUID)=["\']?([A-Za-z0-9_./:\-]+)["\']?', word)
    if label and kind != "raw":
        return f"{label[1]}={label[2]}"
    if word.startswith("/dev/") and _SHELL_SAFE_PATH.fullmatch(word) and ".." not in word.split("/"):
        return word
    if kind == "raw":
        raise BadValueError(f"Bad raw partition {word}", "write its device node: `raw /dev/sda5`")
    raise BadValueError(
        f"'{word}' is no block device", f"write `{kind} /dev/…`, `{kind} LABEL=…` or `{kind} UUID=…`"
    )
