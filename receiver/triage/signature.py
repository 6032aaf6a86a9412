"""The name of a crash: a title people can search for, and a hash of the stack that machines can group by.

Both are versioned by the rules' ``version``: a change of rules renames what is stored only when asked to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

# What differs from one occurrence to the next, in the order it has to go: addresses before numbers.
_VARYING = (
    (re.compile(r"\b([A-Za-z_]\w*)(?:\.\w+)*\+0x[0-9a-f]+/0x[0-9a-f]+"), r"\1"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "IP"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "ADDR"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b"), "ADDR"),
    (re.compile(r"\bCPU ?#?\d+\b"), "CPU"),
    (re.compile(r"(\.[chS]):\d+"), r"\1:LINE"),
    (re.compile(r"\b\d+\b"), "NUM"),
)


def without_details(text: str, longest: int) -> str:
    """A text of the kernel's with everything gone that differs between two crashes of one cause; ASCII."""
    text = text.encode("ascii", "ignore").decode()
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(text.split())[:longest].rstrip(" .!,:;-") + ("!" if text.rstrip().endswith("!") else "")


def title_of(words: str, function: str | None, longest: int) -> str:
    """``words in function``, one line of ASCII, at most ``longest`` characters."""
    title = f"{words} in {function}" if function else words
    return " ".join(title.encode("ascii", "replace").decode().split())[:longest]


def stack_hash(version: int, crash_class: str, stack: Sequence[str], frames: int) -> str:
    """SHA-1 over the rules' version, the class and the first ``frames`` names of the stack; 40 hex digits.

    A crash without a stack is hashed by what stands for it (its title) in the caller's ``stack``.
    """
    counted = "\n".join(stack[:frames])
    return hashlib.sha1(f"v{version}\0{crash_class}\0{counted}".encode(), usedforsecurity=False).hexdigest()
