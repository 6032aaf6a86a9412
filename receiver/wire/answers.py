"""What the tools would have answered: texts that clients parse or people read.

Forms: coreutils 9.1 under LC_ALL=C and dash 0.5.12; what parses them is named at each.
"""

from __future__ import annotations

import errno as codes
import os
import string
import time
from fractions import Fraction
from typing import Literal

from receiver.wire.paths import MAX_PATH
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


_PREFIXES = "kMGTPE"


def dd_summary(size: int, seconds: float, block_bytes: int = 512) -> str:
    """The three lines dd leaves on standard error: records in, records out, bytes and rate."""
    whole, rest = divmod(size, block_bytes)
    records = f"{whole}+{1 if rest else 0} records"
    si, iec = _human(size, 1000), _human(size, 1024)
    shown = f" ({si}, {iec})" if size >= 1024 else f" ({si})" if size >= 1000 else ""
    noun = "byte" if size == 1 else "bytes"
    return (
        f"{records} in\n{records} out\n{size} {noun}{shown} copied, {seconds:g} s, {_rate(size, seconds)}\n"
    )


def kept(verdict: str, reason: str, directory: str) -> str:
    """A line of our own after dd's: what the core is, and where it lies, for the client's console.

    No client reads dd's standard error; kdump-utils, kdump-tools and `kdump` show it.
    """
    what = "the core is complete" if verdict == "complete" else f"the core is {verdict} ({reason})"
    return printable(f"kdump-receiver: {what}, kept in {directory}") + "\n"


def _human(size: int, base: Literal[1000, 1024]) -> str:
    """`size` as gnulib's human_readable shows it to dd: one decimal below ten, ties to even."""
    power = 0
    while size >= base ** (power + 1) and power < len(_PREFIXES):
        power += 1
    amount = Fraction(size, base**power)
    if not power:
        return f"{size} B"
    if amount < 10 and (tenths := round(amount * 10)) < 100:
        text = f"{tenths // 10}.{tenths % 10}"
    elif (whole := round(amount)) < base or power == len(_PREFIXES):
        text = str(whole)
    else:
        text, power = "1.0", power + 1
    prefix = _PREFIXES[power - 1]
    return f"{text} {prefix.upper()}iB" if base == 1024 else f"{text} {prefix}B"


def _rate(size: int, seconds: float) -> str:
    """Bytes a second; gnulib computes these in floating point, with three digits and never below kB."""
    if seconds <= 0:
        return "Infinity B/s"
    amount, power = size / seconds / 1000, 0
    while amount >= 1000 and power < len(_PREFIXES) - 1:
        amount, power = amount / 1000, power + 1
    text = f"{amount:.1f}"
    return f"{text if len(text) <= 4 else f'{amount:.0f}'} {_PREFIXES[power]}B/s"


_WRITING = frozenset({codes.ENOSPC, codes.EDQUOT, codes.EIO, codes.EFBIG})
_FORMS: dict[Tool, str] = {
    "cat": "sh: 1: cannot create {path}: {why}",
    "dd": "dd: failed to open '{path}': {why}",
    "df": "df: {path}: {why}",
    "echo": "sh: 1: cannot create {path}: {why}",
    "ls": "ls: cannot access '{path}': {why}",
    "mkdir": "mkdir: cannot create directory '{path}': {why}",
    "mktemp": "mktemp: failed to create directory via template '{path}/tmp.XXXXXXXXXX': {why}",
    "mv": "mv: cannot move '{path}' to '{to}': {why}",
    "rmdir": "rmdir: failed to remove '{path}': {why}",
    "scp": "scp: {path}: {why}",
}
_WRITING_FORMS: dict[Tool, str] = {
    "cat": "cat: write error: {why}",
    "dd": "dd: error writing '{path}': {why}",
    "echo": "sh: 1: echo: I/O error",
}


def failure(tool: Tool, path: str, errno: int, *, to: str = "") -> str:
    """The line `tool` prints when `path` fails with `errno`; a full disk fails writing, not opening.

    `to` is where mv was to move it.
    """
    form = _FORMS[tool]
    if errno in _WRITING:
        form = _WRITING_FORMS.get(tool, form)
    elif tool == "mv" and errno == codes.ENOENT:
        form = "mv: cannot stat '{path}': {why}"
    path, to = printable(path, MAX_PATH), printable(to, MAX_PATH)
    return form.format(path=path, to=to, why=os.strerror(errno)) + "\n"


def scp_failure(text: str, *, fatal: bool = False) -> bytes:
    """The rcp protocol's error message: byte 1 (or 2, after which no more follows), text, newline."""
    return (b"\x02" if fatal else b"\x01") + f"scp: {printable(text, MAX_PATH)}\n".encode()
