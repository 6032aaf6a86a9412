"""Hostile text made harmless for eyes: what would be obeyed or would mislead is shown instead.

Kernel logs, file names and version strings are whatever a client sent. HTML is the templates' business
(everything is escaped); here it is control characters (shown as U+2400 pictures), and what turns, joins or
hides text: directional overrides, zero-width characters, tags, unassigned code points.
"""

from __future__ import annotations

import re
from typing import Final

COMBINING_MAX: Final = 4  # marks on one letter; more of them climb over the lines above
_KEPT: Final = frozenset("\t\n")
_MARKS: Final = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
    rf"{{{COMBINING_MAX}}})[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
# Letters and signs that are printable and yet draw nothing, or turn what follows them.
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800") | frozenset(
    map(chr, [*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)


def visible(text: str) -> str:
    """`text` with everything that a reader could not see, or a screen would obey, spelled out."""
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(map(_shown, text))
    return _MARKS.sub(r"\1", shown)


def _shown(char: str) -> str:
    if (char.isprintable() and char not in _UNSEEN) or char in _KEPT:
        return char
    number = ord(char)
    if number < 0x20:
        return chr(0x2400 + number)
    if number == 0x7F:
        return "\u2421"
    if number == 0xA0:
        return " "
    return f"<U+{number:04X}>"
