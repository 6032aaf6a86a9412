"""Who holds a UDP port, the question after ``Address already in use``. Source: proc(5), /proc/net/udp."""

from __future__ import annotations

import os

TABLES = ("/proc/net/udp", "/proc/net/udp6")


def inodes_untrusted(table: str, port: int) -> frozenset[str]:
    """The inodes of sockets bound to ``port``, in the text of /proc/net/udp; other lines are passed over."""
    suffix = f":{port:04X}"
    rows = (line.split() for line in table.splitlines())
    return frozenset(row[9] for row in rows if len(row) > 9 and row[1].endswith(suffix))


def holder_of(port: int) -> str | None:
    """Which program is bound to UDP ``port``, as ``fence_kdump (pid 4711)``; None where it cannot be seen."""
    wanted: set[str] = set()
    for path in TABLES:
        wanted |= {f"socket:[{inode}]" for inode in inodes_untrusted(_read(path), port)}
    if not wanted:
        return None
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in wanted:
                    return f"{_read(f'/proc/{pid}/comm').strip() or 'a program'} (pid {pid})"
        except OSError:
            continue  # it ended, or is not ours to look into
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
