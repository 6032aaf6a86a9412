"""What the tools would have answered: texts that clients parse or people read.

Forms: coreutils 9.1 under LC_ALL=C and dash 0.5.12; what parses them is named at each.
"""

from __future__ import annotations

import errno as codes
import os
import string
import time
from typing import Literal

from receiver.wire.refused import printable

Tool = Literal["cat", "dd", "df", "echo", "ls", "mkdir", "mktemp", "mv", "rmdir", "scp"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HALF_YEAR_SECONDS = 31556952 // 2  # ls.c: older (or future) files show their year instead of the time of day


def ls_long(name: str, size: int, mtime: float, now: float, *, owner: str = "kdump") -> str:
    """The line of ``ls -l``; RHEL6's monitor_scp_progress reads `size` (bytes) as the fifth field.

    `mtime` and `now` are seconds of the epoch; the date is UTC.
    """
    when = time.gmtime(mtime)
    recent = now - _HALF_YEAR_SECONDS < mtime <= now
    clock = f"{when.tm_hour:02}:{when.tm_min:02}" if recent else f"{when.tm_year:>5}"
    return (
        f"-rw------- 1 {owner} {owner} {size} {_MONTHS[when.tm_mon - 1]} {when.tm_mday:>2} {clock} {name}\n"
    )


def df_posix(total: int, available: int, *, filesystem: str = "kdump", mount: str = "/") -> str:
    """The answer of ``df -P``; `total` and `available` in bytes.

    RHEL6 takes the fourth field of the last line, RHEL7 the last but two of the whole
    output, so neither `filesystem` nor `mount` may hold a blank.
    """
    blocks, free = total // 1024, min(available, total) // 1024
    used = blocks - free
    capacity = f"{-(-100 * used // blocks)}%" if blocks else "-"
    rows = (
        ("Filesystem", "1024-blocks", "Used", "Available", "Capacity", "Mounted on"),
        (filesystem, str(blocks), str(used), str(free), capacity, mount),
    )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    widths[0] = max(widths[0], 14)
    return "".join(
        " ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:5], widths[1:], strict=True)),
                row[5],
            ]
        )
        + "\n"
        for row in rows
    )


def df_avail(available: int) -> str:
    """The answer of ``df --output=avail``; kdump-utils reads the last line, in KiB."""
    free = str(available // 1024)
    width = max(len(free), len("Avail"))
    return f"{'Avail'.rjust(width)}\n{free.rjust(width)}\n"


_TEMPORARY = string.ascii_letters + string.digits


def mktemp_name(random: bytes) -> str:
    """``tmp.XXXXXXXXXX``, the name ``mktemp -d`` makes, from `random` (8 bytes or more)."""
    number = int.from_bytes(random)
    letters = []
    for _ in range(10):
        number, digit = divmod(number, len(_TEMPORARY))
        letters.append(_TEMPORARY[digit])
    return "tmp." + "".join(letters)


def dd_summary(size: int, seconds: float, block_bytes: int = 512) -> str:
    """The three lines dd leaves on standard error: records in, records out, bytes and rate."""
    whole, rest = divmod(size, block_bytes)
    records = f"{whole}+{1 if rest else 0} records"
    si, iec = _human(size, 1000), _human(size, 1024)
    shown = f" ({si}, {iec})" if size >= 1024 else f" ({si})" if size >= 1000 else ""
    noun = "byte" if size == 1 else "bytes"
    rate = f"{_human(size / seconds, 1000)}/s" if seconds > 0 else "Infinity B/s"
    return f"{records} in\n{records} out\n{size} {noun}{shown} copied, {seconds:g} s, {rate}\n"


def _human(amount: float, base: Literal[1000, 1024]) -> str:
    """gnulib's human_readable as dd uses it: to the nearest, one decimal below ten."""
    power = 0
    while amount >= base and power < 6:
        amount /= base
        power += 1
    decimals = 1 if power and round(amount, 1) < 10 else 0
    if round(amount, decimals) >= base and power < 6:  # 999.9 kB is said 1.0 MB
        amount, power, decimals = amount / base, power + 1, 1
    if not power:
        return f"{amount:.0f} B"
    prefix = "kMGTPE"[power - 1] if base == 1000 else "KMGTPE"[power - 1] + "i"
    return f"{amount:.{decimals}f} {prefix}B"


_WRITING = frozenset({codes.ENOSPC, codes.EDQUOT, codes.EIO, codes.EFBIG})
_FORMS: dict[Tool, str] = {
    "cat": "sh: 1: cannot create {path}: {why}",
    "dd": "dd: failed to open '{path}': {why}",
    "df": "df: {path}: {why}",
    "echo": "sh: 1: cannot create {path}: {why}",
    "ls": "ls: cannot access '{path}': {why}",
    "mkdir": "mkdir: cannot create directory '{path}': {why}",
    "mktemp": "mktemp: failed to create directory via template '{path}/tmp.XXXXXXXXXX': {why}",
    "mv": "mv: cannot move '{path}': {why}",
    "rmdir": "rmdir: failed to remove '{path}': {why}",
    "scp": "scp: {path}: {why}",
}
_WRITING_FORMS: dict[Tool, str] = {
    "cat": "cat: write error: {why}",
    "dd": "dd: error writing '{path}': {why}",
    "echo": "sh: 1: echo: I/O error",
}


def failure(tool: Tool, path: str, errno: int) -> str:
    """The line `tool` prints when `path` fails with `errno`; a full disk fails writing, not opening."""
    form = _WRITING_FORMS.get(tool, _FORMS[tool]) if errno in _WRITING else _FORMS[tool]
    return form.format(path=printable(path, 1024), why=os.strerror(errno)) + "\n"


def scp_failure(text: str, *, fatal: bool = False) -> bytes:
    """The rcp protocol's error message: byte 1 (or 2, after which no more follows), text, newline."""
    return (b"\x02" if fatal else b"\x01") + f"scp: {printable(text, 1024)}\n".encode()
