"""A window of a kernel's log: the lines around the crash, a hit of the search, or a line that was asked for.

Logs have up to hundreds of thousands of lines; a page shows some hundreds, with links to what is before,
behind, and to every hit. Line numbers are the report's: from 1, over the whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from receiver.triage.report import Report
from receiver.web.views.visible import visible

LINES: Final = 300  # in one window
ABOVE: Final = 12  # lines of context over what was looked for
LINE_MAX: Final = 2048  # characters that are shown of a line
HITS_MAX: Final = 5000  # lines that are counted
QUERY_MAX: Final = 200  # characters

Mark = Literal["", "crash", "telling", "headline"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line; `hit` is what was searched for."""

    text: str
    hit: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `mark` is what the report made of it, `current` says that it is the hit asked for."""

    number: int
    pieces: tuple[Piece, ...]
    mark: Mark = ""
    current: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """What is shown. `hits` counts lines; `hit` is the current one's number from 1, 0 for none."""

    lines: tuple[Line, ...]
    total: int
    first: int
    last: int
    earlier: int | None  # the line to ask for
    later: int | None
    crash: int | None  # line of the headline
    query: str = ""
    hits: int = 0
    more_hits: bool = False
    hit: int = 0
    previous: int | None = None
    next: int | None = None
    hit_line: int | None = None


def window(
    data: bytes,
    report: Report | None = None,
    *,
    query: str = "",
    hit: int = 0,
    at: int | None = None,
    size: int = LINES,
) -> Window:
    """Cut the window out of a log file's bytes. Any bytes give one; nothing is raised.

    `hit` asks for the n-th hit of `query`, from 1; 0 for the first at or behind the crash. `at` asks for a
    line to begin with. Without any of them the crash is shown, or the log's end.
    """
    raw = data.split(b"\n")
    if raw and not raw[-1]:
        raw.pop()
    quoted = [line.number for line in report.lines if 0 < line.number <= len(raw)] if report else []
    crash = quoted[0] if quoted else None
    query = query.strip()[:QUERY_MAX]
    hits = _search(raw, query)
    chosen = _choose(hits[:HITS_MAX], hit, crash)
    hit_line = hits[chosen - 1] if chosen else None
    first = _first(len(raw), size, at, hit_line, crash)
    marks = _marks(quoted)
    lines = tuple(
        Line(number, _pieces(_text(raw[number - 1]), query), marks(number), number == hit_line)
        for number in range(first, min(first + size, len(raw) + 1))
    )
    last = first + len(lines) - 1
    found = min(len(hits), HITS_MAX)
    return Window(
        lines=lines,
        total=len(raw),
        first=first if lines else 0,
        last=last if lines else 0,
        earlier=max(1, first - size) if first > 1 else None,
        later=last + 1 if lines and last < len(raw) else None,
        crash=crash,
        query=query,
        hits=found,
        more_hits=len(hits) > HITS_MAX,
        hit=chosen,
        previous=(chosen - 2) % found + 1 if found > 1 else None,
        next=chosen % found + 1 if found > 1 else None,
        hit_line=hit_line,
    )


def _text(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").removesuffix("\r")
    return visible(text if len(text) <= LINE_MAX else f"{text[:LINE_MAX]}…")


def _search(raw: Sequence[bytes], query: str) -> list[int]:
    """Lines that hold `query`, case aside; one more than HITS_MAX says that there are more."""
    if not query:
        return []
    # Bytes are folded by ASCII alone; a query beyond it is compared as text.
    needle, found = query.casefold(), []
    wanted, plain = needle.encode(), needle.isascii()
    for number, line in enumerate(raw, 1):
        if wanted in line.lower() or (not plain and needle in line.decode(errors="replace").casefold()):
            found.append(number)
            if len(found) > HITS_MAX:
                break
    return found


def _choose(hits: Sequence[int], wanted: int, crash: int | None) -> int:
    """Which hit is current, from 1."""
    if not hits:
        return 0
    if wanted > 0:
        return min(wanted, len(hits))
    return next((n for n, line in enumerate(hits, 1) if crash is not None and line >= crash), 1)


def _first(total: int, size: int, at: int | None, hit_line: int | None, crash: int | None) -> int:
    """What was looked for stands near the top, though it be near the end: a crash always is."""
    if at is not None:
        return min(max(1, at), max(1, total))
    wanted = hit_line or crash
    return max(1, total - size + 1) if wanted is None else max(1, wanted - ABOVE)


def _marks(quoted: Sequence[int]) -> Callable[[int], Mark]:
    telling = frozenset(quoted)
    start, end = (quoted[0], max(quoted)) if quoted else (0, -1)

    def mark(number: int) -> Mark:
        if number == start:
            return "headline"
        if number in telling:
            return "telling"
        return "crash" if start <= number <= end else ""

    return mark


def _pieces(text: str, query: str) -> tuple[Piece, ...]:
    """`text` cut where `query` stands in it, case aside."""
    if not query:
        return (Piece(text),)
    folded, needle = text.lower(), query.lower()
    if len(folded) != len(text):  # a letter whose lower case is longer; rare enough to go unmarked
        return (Piece(text),)
    pieces, done = [], 0
    while (found := folded.find(needle, done)) >= 0:
        if found > done:
            pieces.append(Piece(text[done:found]))
        done = found + len(needle)
        pieces.append(Piece(text[found:done], hit=True))
    if done < len(text) or not pieces:
        pieces.append(Piece(text[done:]))
    return tuple(pieces)
