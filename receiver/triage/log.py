"""Kernel log text, as any tool leaves it: lines with their time, their caller and their bare message.

Understood prefixes, in the order they nest: ``<4>`` (printk level), ``4,1234,5678,-;`` (/dev/kmsg and
extended netconsole, Documentation/ABI/testing/dev-kmsg), ``Jan  1 00:00:00 host kernel:`` (syslog),
``[   12.345678]`` (printk.time), ``[Mon Jan  1 00:00:00 2024]`` (dmesg -T), ``[  T123]`` and ``[    C0]``
(CONFIG_PRINTK_CALLER). The second and later lines of a record carry none; they belong to the line above.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

MAX_BYTES = 16 << 20  # the largest ring CONFIG_LOG_BUF_SHIFT allows is 32 MiB, descriptors included
MAX_LINES = 400_000
MAX_LINE = 2048  # characters; a printk record holds at most 1024 (LOG_LINE_MAX), syslog adds its prefix

# ANSI colours of consoles, every control character but newline and tab, and what turns text around: quoted
# lines end up on terminals.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,16}[ -/]{0,4}[@-~]")
_CONTROLS = dict.fromkeys(
    [
        *range(9),
        11,
        12,
        *range(14, 32),
        *range(127, 160),
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    ]
)

_LEVEL = re.compile(r"<\d{1,3}>")
_KMSG = re.compile(r"(?:[^,;\s]{1,64},)?\d{1,6},\d{1,20},(?P<us>\d{1,16}),[^;]{0,120};")
_KMSG_CALLER = re.compile(r"\bcaller=([TC]\d{1,10})")
_SYSLOG = re.compile(
    r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,16}) "
    r"(?:\S{1,255} )?kernel: ?"
)
_TIME = re.compile(r"\[ {0,11}(?P<seconds>\d{1,10}\.\d{1,9})(?:[,@ ]?\d{0,4})\] ?")
_CTIME = re.compile(
    r"\[[A-Z][a-z]{2} [A-Z][a-z]{2} (?P<day>[ \d]\d) "
    r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d) \d{4}\] ?"
)
_CALLER = re.compile(r"\[ {0,9}(?P<caller>[TC]\d{1,10})\] ?")
# A console on a serial line: the kernel's record starts in the middle of what somebody else was writing.
_CONSOLE = re.compile(r"(?:\S{1,64} login: |\*\* \d{1,9} printk messages dropped \*\* ?)(?=\[)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log.

    ``number`` counts from 1 in the text that was handed in. ``seconds`` is the printk clock (of the month for
    ``dmesg -T``), inherited from the line above by the later lines of a record; None where there is none.
    ``caller`` is ``T123`` (task) or ``C0`` (interrupt on a CPU) where the kernel prints it. ``text`` is the
    message, its indentation kept.
    """

    number: int
    seconds: float | None
    caller: str | None
    text: str


class Log:
    """A bounded log: ``text`` is what searches run over, ``line(i)`` reads one line of it, i from 0."""

    __slots__ = ("_cache", "_raw", "_starts", "dropped", "text")

    def __init__(self, raw: list[str], dropped: int) -> None:
        self._raw = raw
        self._starts = [0, *accumulate(len(line) + 1 for line in raw)]
        self._cache: dict[int, Line] = {}
        self.text = "\n".join(raw)
        self.dropped = dropped

    def __len__(self) -> int:
        return len(self._raw)

    def index_at(self, offset: int) -> int:
        """The line that holds this offset of ``text``."""
        return bisect_right(self._starts, offset) - 1

    def start_of(self, index: int) -> int:
        """The offset in ``text`` where the line begins."""
        return self._starts[index]

    def line(self, index: int) -> Line:
        """Raises IndexError past the end."""
        found = self._cache.get(index)
        if found is None:
            found = self._cache[index] = self._read(index)
        return found

    def _read(self, index: int) -> Line:
        seconds, caller, text, bare = _split(self._raw[index])
        # At most a screen back: a record of more lines than that is not one.
        for above in range(index - 1, max(-1, index - 60), -1):
            if not bare:
                break
            if known := self._cache.get(above):
                seconds, caller = known.seconds, known.caller
                break
            seconds, caller, _, bare = _split(self._raw[above])
        return Line(self.dropped + index + 1, seconds, caller, text)


def _split(raw: str) -> tuple[float | None, str | None, str, bool]:
    """Time, caller, message, and whether the line had no prefix at all."""
    seconds: float | None = None
    caller: str | None = None
    at = 0
    if prefix := _CONSOLE.match(raw):
        at = prefix.end()
    if prefix := _LEVEL.match(raw, at):
        at = prefix.end()
    if prefix := _KMSG.match(raw, at):
        at = prefix.end()
        seconds = int(prefix["us"]) / 1e6
        if origin := _KMSG_CALLER.search(prefix[0]):
            caller = origin[1]
    elif prefix := _SYSLOG.match(raw, at):
        at = prefix.end()
    if prefix := _TIME.match(raw, at):
        at = prefix.end()
        seconds = float(prefix["seconds"])
    elif prefix := _CTIME.match(raw, at):
        at = prefix.end()
        day, hour, minute, second = (int(prefix[part]) for part in ("day", "h", "m", "s"))
        seconds = float(((day * 24 + hour) * 60 + minute) * 60 + second)
    if prefix := _CALLER.match(raw, at):
        at = prefix.end()
        caller = prefix["caller"]
    return seconds, caller, raw[at:], at == 0


def read_untrusted(data: bytes, dropped: int = 0) -> Log:
    """Read log text. Any bytes give a log; nothing is raised.

    ``dropped`` counts the lines of the log before ``data``, where only its end is handed in. Beyond MAX_BYTES
    and MAX_LINES the beginning is left out: a crash is at the end. A longer line than MAX_LINE loses its end;
    escape sequences and control characters go.
    """
    if len(data) > MAX_BYTES:
        cut = data.find(b"\n", len(data) - MAX_BYTES)
        cut = len(data) - MAX_BYTES if cut < 0 else cut + 1
        dropped += data.count(b"\n", 0, cut)
        data = data[cut:]
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    raw = text.translate(_CONTROLS).rsplit("\n", MAX_LINES)
    if len(raw) > MAX_LINES:
        dropped += raw.pop(0).count("\n") + 1
    if raw and not raw[-1]:
        raw.pop()
    return Log([line[:MAX_LINE] for line in raw], dropped)
