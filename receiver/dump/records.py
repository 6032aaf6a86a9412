"""Records of the kernel's log, and the text that makedumpfile makes of them.

Source of the form: makedumpfile 1.7.2, printk.c and makedumpfile.c
(``dump_record``, ``dump_log_entry``): the second and later lines of a record are
indented by the width of its time stamp, and bytes that C's isprint() and isspace()
do not know are escaped, as signed integers, since ``char`` is signed on x86.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ODD = re.compile(rb"[^\t-\r\x20-\x7e]")

LARGEST_TEXT = 64 << 20  # bytes of text that are made; the kernel's rings have some hundred KiB
MOST_RECORDS = 1 << 19


@dataclass(frozen=True, slots=True)
class Record:
    """One message."""

    nanoseconds: int | None  # since boot; None where only the text was found
    text: bytes
    level: int | None = None  # 0 emergency to 7 debug
    caller: str | None = None  # T1234 a task, C1 a CPU, where the kernel says it


@dataclass(frozen=True, slots=True)
class Gap:
    """Where records are known to have been, but their pages are not in the dump."""

    records: int = 0
    bytes: int = 0  # where records cannot be counted

    def __bool__(self) -> bool:
        return bool(self.records or self.bytes)

    def __add__(self, other: Gap) -> Gap:
        return Gap(self.records + other.records, self.bytes + other.bytes)

    @property
    def text(self) -> str:
        what = f"{self.records:,} records" if self.records else f"{self.bytes:,} bytes"
        return f"[... {what} missing: their pages are not in the dump ...]"


Entry = Record | Gap


def form(record: Record) -> bytes:
    """The record as ``makedumpfile --dump-dmesg`` prints it, with its newline."""
    stamp = b""
    if record.nanoseconds is not None:
        seconds, rest = divmod(record.nanoseconds, 1_000_000_000)
        stamp = b"[%5d.%06d] " % (seconds, rest // 1000)
    text = record.text
    if _ODD.search(text):
        text = _ODD.sub(_escape, text)
    if b"\n" in text:
        text = text.replace(b"\n", b"\n" + b" " * len(stamp))
    return stamp + text + b"\n"


def caller(caller_id: int) -> str:
    """Of printk_info.caller_id: the top bit tells a CPU from a task."""
    return f"C{caller_id & 0x7FFFFFFF}" if caller_id & 0x80000000 else f"T{caller_id}"


def _escape(match: re.Match[bytes]) -> bytes:
    value = match[0][0]
    return b"\\x%02x" % (value if value < 0x80 else value | 0xFFFFFF00)
