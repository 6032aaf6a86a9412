"""Text as man(7) wants it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_BOLD = re.compile(r"`([^`]+)`")
_INDENT = 4  # columns before a line that stays as it is


def plain(text: str) -> str:
    """`text` so that roff prints it as it stands."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    escaped = escaped.replace("^", r"\(ha").replace("~", r"\(ti")
    escaped = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in escaped)
    return re.sub(r"^(?=\.)", r"\\&", escaped, flags=re.MULTILINE)


def words(text: str) -> str:
    """Running text: what stands between backticks is bold; hyphens may break."""
    parts = _BOLD.split(" ".join(text.split()))
    told = (rf"\fB{plain(part)}\fR" if number % 2 else _prose(part) for number, part in enumerate(parts))
    return re.sub(r"^(?=[.'])", r"\\&", "".join(told))


def _prose(text: str) -> str:
    return re.sub(r"(?<=\w)\\-(?=\w)", "-", plain(text))


def paragraphs(text: str, *, indented: bool = False) -> Iterator[str]:
    """Blocks between blank lines; one that is indented, or begins with ``\\b``, keeps its lines."""
    macro = ".IP" if indented else ".PP"
    for number, block in enumerate(re.split(r"\n\s*\n", text.strip("\n"))):
        lines = block.split("\n")
        literal = lines[0].strip() == "\b"
        if number:
            yield macro
        if literal or all(line.startswith(" " * _INDENT) for line in lines):
            kept = lines[1:] if literal else [line[_INDENT:] for line in lines]
            yield from (".nf", *map(plain, kept), ".fi")
        else:
            yield words(block)


def definitions(entries: Iterable[tuple[Sequence[str], str]]) -> Iterator[str]:
    """Tags, and what each means, indented."""
    for tags, text in entries:
        for number, tag in enumerate(tags):
            yield ".TQ" if number else ".TP"
            yield tag
        yield from paragraphs(text, indented=True)


def option(text: str) -> str:
    """``--host TEXT, -h``: names bold, what stands for a value slanted."""
    return re.sub(
        r"(?P<name>--?[\w-]+)|(?P<value>[^\s,=\[\]|/]+)",
        lambda found: rf"\fB{plain(found[0])}\fR" if found["name"] else rf"\fI{plain(found[0])}\fR",
        text,
    )
