"""How the C pair reads its flags: glibc's getopt_long and C's atoi, as far as they can be seen from outside.

Source: fence-agents 4.12.1, agents/kdump/options.h, and getopt_long(3). Scripts in the field rely on
``--node=N`` for ``--nodename=N`` and on ``-t 30s`` meaning 30, so argparse is no drop-in (nor cheap:
10 ms of an agent's start).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple  # NamedTuple and no dataclass: the agent starts 8 ms earlier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME_OF_FAMILY = {"auto": 0, "ipv4": 2, "ipv6": 10}  # AF_UNSPEC, AF_INET, AF_INET6 of Linux
INT_MAX = 2**31 - 1


class BadFlag(Exception):
    """The command line is wrong in its form; the C programs print this line and their usage, and exit 1."""


class BadValue(Exception):
    """A flag's or key's value is out of range; the text is the C programs' own."""


class Flag(NamedTuple):
    """One flag; ``argument`` is ``no``, ``required`` or ``optional`` as in getopt_long(3).

    A flag of our own (``ours``) has to be written out, so that every abbreviation
    the C program takes keeps its meaning.
    """

    name: str
    letter: str
    argument: str
    ours: bool = False


class Given(NamedTuple):
    """One flag as it was met, with its argument if it had one."""

    name: str
    value: str | None


class Operand(NamedTuple):
    """A word that is no flag."""

    value: str


def walk(program: str, words: Sequence[str], flags: Sequence[Flag]) -> Iterator[Given | Operand]:
    """Meet flags and operands in the order they stand.

    Raises:
        BadFlag: at the word that is wrong, after those before it were given out, as getopt_long does.
    """
    letters = {flag.letter: flag for flag in flags if flag.letter}
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from map(Operand, rest)
        elif word.startswith("--"):
            yield _long(program, word[2:], flags, rest)
        elif word.startswith("-") and word != "-":
            yield from _cluster(program, word[1:], letters, rest)
        else:
            yield Operand(word)


def _long(program: str, word: str, flags: Sequence[Flag], rest: Iterator[str]) -> Given:
    name, equals, text = word.partition("=")
    found = [flag for flag in flags if flag.name == name]
    found = found or [flag for flag in flags if not flag.ours and flag.name.startswith(name)]
    if not found:
        raise BadFlag(f"{program}: unrecognized option '--{name}'")
    if len(found) > 1:
        names = " ".join(f"'--{flag.name}'" for flag in found)
        raise BadFlag(f"{program}: option '--{name}' is ambiguous; possibilities: {names}")
    flag = found[0]
    value: str | None = text if equals else None
    if value is not None and flag.argument == "no":
        raise BadFlag(f"{program}: option '--{flag.name}' doesn't allow an argument")
    if value is None and flag.argument == "required":
        value = next(rest, None)
        if value is None:
            raise BadFlag(f"{program}: option '--{flag.name}' requires an argument")
    return Given(flag.name, value)


def _cluster(program: str, word: str, letters: dict[str, Flag], rest: Iterator[str]) -> Iterator[Given]:
    """``-vt5``: letters in one word; the first that takes an argument takes the rest of the word."""
    for position, letter in enumerate(word):
        if letter not in letters:
            raise BadFlag(f"{program}: invalid option -- '{letter}'")
        flag = letters[letter]
        if flag.argument == "no":
            yield Given(flag.name, None)
            continue
        value: str | None = word[position + 1 :] or None
        if value is None and flag.argument == "required":
            value = next(rest, None)
            if value is None:
                raise BadFlag(f"{program}: option requires an argument -- '{letter}'")
        yield Given(flag.name, value)
        return


def atoi(text: str) -> int:
    """C's ``atoi``: blanks, a sign, digits, and whatever follows is ignored; no digits are 0."""
    text = text.lstrip(" \t\n\v\f\r")
    sign, digits = 1, text
    if text[:1] in ("+", "-"):
        sign, digits = (-1 if text[0] == "-" else 1), text[1:]
    end = 0
    while end < len(digits) and digits[end] in "0123456789":
        end += 1
    # Beyond an int the C result is undefined (4.12.1 wraps); a huge timeout should stay huge. Ten
    # digits are enough to know, and keep Python's own limit on the length of numbers out of play.
    return sign * min(int(digits[:end].lstrip("0")[:11] or "0"), INT_MAX)


def at_least(least: int, name: str, text: str, most: int = INT_MAX) -> int:
    """An integer flag.

    Raises:
        BadValue: it is out of range.
    """
    number = atoi(text)
    if not least <= number <= most:
        raise BadValue(f"invalid {name} '{text}'")
    return number


def ipport(text: str) -> int:
    """A UDP port.

    Raises:
        BadValue: not 1..65535.
    """
    return at_least(1, "ipport", text, 65535)


def family(text: str) -> int:
    """An address family as its number on Linux.

    Raises:
        BadValue: not auto, ipv4 or ipv6.
    """
    try:
        return NAME_OF_FAMILY[text.lower()]
    except KeyError:
        raise BadValue(f"unsupported family '{text}'") from None


def verbosity(before: int, text: str | None) -> tuple[int, str | None]:
    """One more ``-v``, ``-vv``, ``-v3`` or ``verbose=yes``: the new level, and what is wrong with the text.

    The C programs complain of a bad value and go on, so this is no error. They do not know the
    booleans their metadata promises; we do.
    """
    word = (text or "").lower()
    if word in ("yes", "on", "true"):
        return before + 1, None
    if word in ("no", "off", "false"):
        return before, None
    if word[:1].isdigit():
        return before + atoi(word), None
    extra = len(word) - len((text or "").lstrip("v"))
    wrong = (text or "")[extra : extra + 1]
    return before + 1 + extra, f"invalid value '{wrong}' for verbose" if wrong else None
