"""Other people's settings told in the words of kdump.conf: Debian's and SUSE's.

Sources: Debian kdump-tools 1.8.1 /etc/default/kdump-tools and kdump-config;
openSUSE/kdump sysconfig.kdump.in (v2.0) and kdump(5).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


@dataclass(frozen=True, slots=True)
class Imported:
    """``lines`` of a kdump.conf, and in ``notes`` what has no like there and why."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]


def assignments(text: str) -> dict[str, str]:
    """The plain ``NAME=value`` lines of a shell file; nothing is run, nothing is expanded.

    Raises:
        ValueError: a quote that never closes, naming the line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _ASSIGNMENT.match(line)
        if not match:
            continue
        try:
            words = shlex.split(match[2], comments=True)
        except ValueError as error:
            raise ValueError(f"line {number}: the quotes of {match[1]} do not close") from error
        found[match[1]] = words[0] if words else ""
    return found


def from_debian(values: dict[str, str]) -> Imported:
    """Debian's and Ubuntu's /etc/default/kdump-tools."""
    lines: list[str] = []
    notes: list[str] = []
    places = [
        *([f"ssh {values['SSH']}"] if values.get("SSH") else []),
        *([f"nfs {values['NFS']}"] if values.get("NFS") else []),
    ]
    lines += _targets(places)
    if values.get("SSH_KEY"):
        lines.append(f"sshkey {values['SSH_KEY']}")
    lines.append(f"path {values.get('KDUMP_COREDIR') or '/var/crash'}")
    arguments = values.get("MAKEDUMP_ARGS") or "-c -d 31"
    lines.append(f"core_collector makedumpfile {' '.join(w for w in arguments.split() if w != '-F')}")
    _copy(values, "KDUMP_KEXEC_ARGS", "kexec_args", lines)
    _append_words(values.get("KDUMP_CMDLINE_APPEND", ""), lines)
    compression = values.get("KDUMP_COMPRESSION", "none")
    if compression in ("gzip", "xz", "lz4"):
        lines.append(f"ssh_compress {compression}")
    elif compression not in ("", "none"):
        notes.append(f"KDUMP_COMPRESSION={compression}: use zstd or gzip in ssh_compress")
    fail = values.get("KDUMP_FAIL_CMD", "")
    if fail:
        action = next((a for a in ("poweroff", "halt", "reboot") if a in fail), "")
        if action:
            lines.append(f"failure_action {action}")
        else:
            notes.append(f"KDUMP_FAIL_CMD={fail}: put it into a script and name it with kdump_emergency")
    _note(values, notes, _DEBIAN_NOTES)
    if values.get("USE_KDUMP", "1") != "1":
        notes.append("USE_KDUMP is not 1: kdump was off; `kdump start` turns it on")
    return Imported(tuple(lines), tuple(notes))


def from_suse(values: dict[str, str]) -> Imported:
    """SUSE's /etc/sysconfig/kdump."""
    lines: list[str] = []
    notes: list[str] = []
    places: list[str] = []
    path = ""
    for url in (values.get("KDUMP_SAVEDIR") or "/var/crash").split():
        place, its_path, note = _suse_url(url)
        places += [place] if place else []
        path = path or its_path
        notes += [note] if note else []
    lines += _targets(places)
    lines.append(f"path {path or '/var/crash'}")
    lines.append(f"core_collector {_suse_collector(values)}")
    identity = (values.get("KDUMP_SSH_IDENTITY") or "").split()
    if identity:
        key = identity[0] if identity[0].startswith("/") else f"/root/.ssh/{identity[0]}"
        lines.append(f"sshkey {key}")
        notes += [f"KDUMP_SSH_IDENTITY: {word} left out, one key is used" for word in identity[1:]]
    if values.get("KDUMP_CPUS", "").isdigit() and int(values["KDUMP_CPUS"]) > 0:
        lines.append(f"nr_cpus {values['KDUMP_CPUS']}")
    if values.get("KDUMP_NET_TIMEOUT", "").isdigit() and int(values["KDUMP_NET_TIMEOUT"]) >= 5:
        lines.append(f"net_timeout {values['KDUMP_NET_TIMEOUT']}")
    _copy(values, "KEXEC_OPTIONS", "kexec_args", lines)
    _append_words(values.get("KDUMP_COMMANDLINE_APPEND", ""), lines)
    _copy(values, "KDUMP_REQUIRED_PROGRAMS", "extra_bins", lines)
    _copy(values, "KDUMP_KERNELVER", "kernel_version", lines)
    for name, word in (("KDUMP_PRESCRIPT", "kdump_pre"), ("KDUMP_POSTSCRIPT", "kdump_post")):
        _script(values.get(name, ""), name, word, lines, notes)
    if values.get("KDUMP_IMMEDIATE_REBOOT", "yes") in ("no", "false"):
        lines.append("failure_action shell")
        notes.append(
            "KDUMP_IMMEDIATE_REBOOT=no: a shell comes after a failed dump; after a saved one we reboot"
        )
    elif values.get("KDUMP_CONTINUE_ON_ERROR", "true") in ("no", "false"):
        lines.append("failure_action shell")
    if values.get("KDUMP_HOST_KEY") == "*":
        notes.append(
            "KDUMP_HOST_KEY=*: no unchecked host keys here; run `kdump propagate` to pin the server's"
        )
    _note(values, notes, _SUSE_NOTES)
    return Imported(tuple(lines), tuple(notes))


READERS: dict[str, Callable[[dict[str, str]], Imported]] = {"debian": from_debian, "suse": from_suse}


def family(values: dict[str, str]) -> str:
    """Whose file it is, by the names only one of them has; '' where neither is seen."""
    if {"KDUMP_SAVEDIR", "KDUMP_DUMPLEVEL", "KDUMP_DUMPFORMAT", "KDUMP_IMMEDIATE_REBOOT"} & set(values):
        return "suse"
    if {"USE_KDUMP", "KDUMP_COREDIR", "MAKEDUMP_ARGS", "KDUMP_SYSCTL", "SSH", "NFS"} & set(values):
        return "debian"
    return ""


_LINE = "the running kernel's line is used; say the difference with cmdline_append and cmdline_remove"
_DEBIAN_NOTES = {
    "FTP": "no ftp here: use ssh",
    "HOSTTAG": "the directory is named by address, or by %HOST in path",
    "KDUMP_CMDLINE": _LINE,
    "KDUMP_KERNEL": "say the version with kernel_version",
    "KDUMP_INITRD": "the image is built by `kdump start`",
    "KDUMP_NUM_DUMPS": "old dumps are the collector's to remove",
    "KDUMP_SYSCTL": "set it in /etc/sysctl.d",
    "NFS_TIMEO": "use net_timeout",
    "NFS_RETRANS": "use net_timeout",
    "NFS_MOUNT_RETRY": "use net_timeout",
    "SSH_KDUMP_RETRY": "use net_timeout",
}
_SUSE_NOTES = {
    "KDUMP_TRANSFER": "not taken over: name the program with core_collector or kdump_post",
    "KDUMP_COMMANDLINE": _LINE,
    "KDUMP_FREE_DISK_SIZE": "a dump that does not fit is refused or cut by the target",
    "KDUMP_KEEP_OLD_DUMPS": "old dumps are the collector's to remove",
    "KDUMP_NETCONFIG": "the running host's network is used",
    "KDUMP_COPY_KERNEL": "the collector finds the kernel by its build id",
    "KDUMP_SMTP_SERVER": "the collector notifies",
    "KDUMP_NOTIFICATION_TO": "the collector notifies",
}


def _targets(places: list[str]) -> Iterable[str]:
    return [place if number == 0 else f"fallback {place}" for number, place in enumerate(places)]


def _suse_url(url: str) -> tuple[str, str, str]:
    """``(target line or '', path, note or '')`` of one URL of KDUMP_SAVEDIR."""
    if url.startswith("/"):
        return "", url, ""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else (parts.hostname or "")
    note = f"{parts.scheme}://…: the password is left out, run `kdump propagate`" if parts.password else ""
    match parts.scheme:
        case "file":
            return "", unquote(parts.path), ""
        case "ssh" | "sftp" | "scp":
            port = f":{parts.port}" if parts.port else ""
            return f"ssh {unquote(parts.username or 'root')}@{host}{port}", unquote(parts.path) or "/", note
        case "nfs":
            return f"nfs {host}:{unquote(parts.path)}", "/", ""
    return "", "", f"{parts.scheme}:// is not spoken here: use ssh, nfs or a file system"


def _suse_collector(values: dict[str, str]) -> str:
    form = values.get("KDUMP_DUMPFORMAT", "compressed").lower()
    if form in ("raw", "none"):
        return "cp --sparse=always"
    flag = {"elf": "-E", "lzo": "-l", "snappy": "-p", "zstd": "-z"}.get(form, "-c")
    level = values.get("KDUMP_DUMPLEVEL", "31")
    extra = [w for w in values.get("MAKEDUMPFILE_OPTIONS", "").split() if w != "-F"]
    return " ".join(("makedumpfile", flag, "-d", level if level.isdigit() else "31", *extra))


def _script(value: str, name: str, word: str, lines: list[str], notes: list[str]) -> None:
    words = value.split()
    if "fence_kdump_send" in value:
        rest = words[1:]
        split = next(
            (i for i, w in enumerate(rest) if not w.startswith("-") and (i == 0 or len(rest[i - 1]) != 2)), 0
        )
        options, names = rest[:split], rest[split:]
        lines.append(f"fence_kdump_nodes {' '.join(names)}")
        if options:
            lines.append(f"fence_kdump_args {' '.join(options)}")
        notes.append(f"{name}: fence_kdump is told before the dump, not after it")
    elif len(words) == 1:
        lines.append(f"{word} {value}")
    elif words:
        notes.append(f"{name}={value}: put it into a script and name it with {word}")


def _append_words(value: str, lines: list[str]) -> None:
    if value.split():
        lines.append(f"cmdline_append {value}")


def _copy(values: dict[str, str], name: str, word: str, lines: list[str]) -> None:
    if values.get(name, "").strip():
        lines.append(f"{word} {values[name].strip()}")


def _note(values: dict[str, str], notes: list[str], table: dict[str, str]) -> None:
    notes += [f"{name}={values[name]}: {table[name]}" for name in table if values.get(name)]
