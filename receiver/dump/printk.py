"""The kernel's log out of a dump, whole or broken, whatever the kernel's age.

From whole dumps the text is the one that ``makedumpfile --dump-dmesg`` gives, byte for
byte. From broken ones, and while an upload still runs, it is all that the pages at hand
hold, with a line where something is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from receiver.dump import logbuf, ringbuffer
from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread
from receiver.dump.records import LARGEST_TEXT, Gap, Record, form
from receiver.dump.virtual import Virtual, open_parts_untrusted, open_untrusted
from receiver.dump.vmcoreinfo import Vmcoreinfo

Source = Literal["ringbuffer", "structured", "flat"]  # Linux 5.10 and later, 3.5 to 5.9, before 3.5


@dataclass(frozen=True, slots=True)
class Log:
    """The log, as far as it could be read."""

    data: bytes = b""  # as makedumpfile prints it, with a line for each gap
    records: tuple[Record, ...] = ()  # empty for the flat log, which has none
    source: Source | None = None
    missing: int = 0  # records whose pages are not in the dump; bytes, where they cannot be counted
    why: str = ""  # it is missing, or incomplete

    def __bool__(self) -> bool:
        return bool(self.data)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


def log_untrusted(pread: Pread, kind: Kind) -> Log:
    """The log in one file, which may be broken or still arriving. Raises nothing."""
    try:
        return read_untrusted(*open_untrusted(pread, kind))
    except Malformed as error:
        return Log(why=str(error))


def log_of_parts_untrusted(parts: Sequence[Pread]) -> Log:
    """The log in a split dump, of which parts may be missing. Raises nothing."""
    try:
        return read_untrusted(*open_parts_untrusted(parts))
    except Malformed as error:
        return Log(why=str(error))


def read_untrusted(virtual: Virtual, info: Vmcoreinfo) -> Log:
    """The log in this memory.

    Raises:
        Malformed: its place is not known, or the pages that lead to it are not there.
    """
    if info.symbol("prb") is not None or info.symbol("printk_rb_static") is not None:
        return _collected("ringbuffer", ringbuffer.read_untrusted(virtual, info))
    if info.symbol("log_end") is None and info.symbol("log_first_idx") is not None:
        return _collected("structured", logbuf.structured_untrusted(virtual, info))
    return _collected("flat", logbuf.flat_untrusted(virtual, info))


def _collected(source: Source, entries: Iterable[Record | Gap | bytes]) -> Log:
    data = bytearray()
    records: list[Record] = []
    missing = 0
    why = ""
    gap = Gap()
    for entry in entries:
        if isinstance(entry, Gap):
            gap += entry
            continue
        if gap:
            _mark(data, gap)
            missing += gap.records or gap.bytes
            gap = Gap()
        if isinstance(entry, Record):
            data += form(entry)
            records.append(entry)
        else:
            data += entry
        if len(data) > LARGEST_TEXT:
            why = f"cut at {LARGEST_TEXT:,} bytes"
            break
    if gap:
        _mark(data, gap)
        missing += gap.records or gap.bytes
    if missing and not why:
        what = "records" if source == "ringbuffer" else "records and bytes" if records else "bytes"
        why = f"{missing:,} {what} are in pages that the dump does not have"
    timeless = sum(record.nanoseconds is None for record in records)
    if timeless and not why:
        why = f"the times of {timeless:,} records are in pages that the dump does not have"
    return Log(bytes(data), tuple(records), source, missing, why)


def _mark(data: bytearray, gap: Gap) -> None:
    if data and not data.endswith(b"\n"):
        data += b"\n"
    data += gap.text.encode() + b"\n"
