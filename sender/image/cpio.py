"""A cpio archive in the "newc" format, as the kernel unpacks it.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the image: ``mode`` its permissions; ``link`` makes it a symbolic link."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""


# Directories that dracut makes, some of them as symbolic links (/bin, /lib). They must not be said
# again: the kernel would change their modes, and replace a link by an empty directory.
MADE_BY_DRACUT = frozenset(
    f"/{name}"
    for name in (
        *("", "bin", "sbin", "lib", "lib64", "dev", "proc", "root", "run", "sys", "sysroot", "tmp"),
        *("etc", "etc/cmdline.d", "etc/modprobe.d", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"),
        *("var", "var/lib", "var/lock", "var/run", "var/tmp"),
    )
)


def pack(entries: Iterable[Entry]) -> bytes:
    """The archive, with the directories the entries need, owned by root."""
    said = set(MADE_BY_DRACUT)
    out = bytearray()
    number = 1
    for entry in sorted(entries, key=lambda e: e.path):
        for parent in reversed(PurePosixPath(entry.path).parents):
            if str(parent) not in said:
                said.add(str(parent))
                mode = 0o700 if parent.name == ".ssh" else 0o755
                out += _record(number, str(parent), stat.S_IFDIR | mode, b"")
                number += 1
        kind = stat.S_IFLNK | 0o777 if entry.link else stat.S_IFREG | entry.mode
        out += _record(number, entry.path, kind, entry.link.encode() or entry.data)
        number += 1
    out += _record(0, "TRAILER!!!", 0, b"")
    return bytes(out) + b"\0" * (-len(out) % 512)


def _record(number: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.lstrip("/").encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
