"""One exec string cut into words, as the clients' remote shell would cut it.

Only what kdump clients use is understood (blanks, both quotes, backslash, ``&&``, ``;``,
newline, ``>``). What a shell would expand or run is refused rather than taken literally,
so that a line never means one thing here and another to the shell it was written for.
Rules: POSIX.1-2017, Shell Command Language, 2.2 Quoting and 2.3 Token Recognition; and
bash's brace and tilde expansion, since ``/bin/sh`` of the Red Hat family is bash.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from receiver.wire.refused import Refused

MAX_LINE = 16 * 1024  # bytes; the longest text a client is known to send, ssh-copy-id 10.5, has 600

_BLANK = " \t"
_REFUSED = {
    "$": "variables and substitutions",
    "`": "command substitution",
    "*": "file name patterns",
    "?": "file name patterns",
    "[": "file name patterns",
    "{": "brace expansion",
    "}": "brace expansion",
    "(": "subshells",
    ")": "subshells",
    "<": "input redirection",
    "|": "pipes",
    "&": "background commands",
}


class Operator(enum.Enum):
    """What stands between words."""

    AND = "&&"
    THEN = ";"  # a newline says the same
    INTO = ">"


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its quotes removed; `quoted` tells whether it had any."""

    text: str
    quoted: bool = False


Token = Word | Operator


def check_line_untrusted(line: str) -> None:
    """Bounds of any exec string.

    Raises:
        Refused: longer than `MAX_LINE` bytes, not UTF-8, or holding a control character
            other than newline and tab.
    """
    if len(line) > MAX_LINE or len(line.encode(errors="surrogatepass")) > MAX_LINE:
        raise Refused(f"a command has at most {MAX_LINE} bytes")
    for char in line:
        if char not in "\n\t" and not char.isprintable():
            raise Refused(f"a command holds printable UTF-8 only, not '{char}'")


def split_untrusted(line: str) -> tuple[Token, ...]:
    """Cut `line` into words and operators.

    Raises:
        Refused: see `check_line_untrusted`; an unfinished quote; any unquoted character
            that a shell would act upon and no client needs.
    """
    check_line_untrusted(line)
    tokens: list[Token] = []
    at = 0
    while at < len(line):
        char = line[at]
        if char in _BLANK:
            at += 1
        elif char in "\n;":
            tokens.append(Operator.THEN)
            at += 1
        elif line.startswith("&&", at):
            tokens.append(Operator.AND)
            at += 2
        elif char == ">":
            if line[at + 1 : at + 2] in {">", "&", "|", "("}:
                raise Refused(f"'{line[at : at + 2]}' is not understood: no kdump client uses it")
            tokens.append(Operator.INTO)
            at += 1
        else:
            word, at = _word(line, at)
            if not word.quoted and word.text.isdigit() and line[at : at + 1] == ">":
                raise Refused(f"'{word.text}>' is not understood: no kdump client redirects a descriptor")
            tokens.append(word)
    return tuple(tokens)


def _word(line: str, at: int) -> tuple[Word, int]:
    """The word that begins at `at`, and where it ends."""
    if line[at] == "#":
        raise Refused("'#' is not understood: no kdump client sends comments")
    text: list[str] = []
    quoted = False
    while at < len(line) and line[at] not in " \t\n;>" and not line.startswith("&&", at):
        char = line[at]
        if char == "'":
            piece, at = _single(line, at)
            quoted = True
        elif char == '"':
            piece, at = _double(line, at)
            quoted = True
        elif char == "\\":
            piece = line[at + 1 : at + 2]
            if piece in {"", "\n"}:
                raise Refused("a backslash ends the line")
            at += 2
            quoted = True
        elif char in _REFUSED:
            raise Refused(
                f"'{char}' is not understood: {_REFUSED[char]} are for a shell, and there is none here"
            )
        elif char == "~" and (not text or text[-1].endswith(("=", ":"))):
            raise Refused("'~' is not understood: there are no home directories here")
        else:
            piece = char
            at += 1
        text.append(piece)
    return Word("".join(text), quoted), at


def _single(line: str, at: int) -> tuple[str, int]:
    end = line.find("'", at + 1)
    if end < 0:
        raise Refused("a single quote is not closed")
    return line[at + 1 : end], end + 1


def _double(line: str, at: int) -> tuple[str, int]:
    text: list[str] = []
    at += 1
    while at < len(line):
        char = line[at]
        if char == '"':
            return "".join(text), at + 1
        if char in "$`":
            raise Refused(
                f"'{char}' is not understood: {_REFUSED[char]} are for a shell, and there is none here"
            )
        if char == "\\" and line[at + 1 : at + 2] == "\n":
            raise Refused("a backslash ends the line")
        if char == "\\" and line[at + 1 : at + 2] in {"$", "`", '"', "\\"}:
            at += 1
            char = line[at]
        text.append(char)
        at += 1
    raise Refused("a double quote is not closed")
