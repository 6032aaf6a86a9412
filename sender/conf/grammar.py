"""The lines of kdump.conf: a word, blanks, a value, and comments from ``#``.

Sources: kdump-utils kdump-lib-initramfs.sh (v1.0.61): comments may be
indented, ``#`` cuts, trailing blanks and one pair of double quotes go;
kexec-tools 2.0.0 (RHEL 6) mkdumprd: leading blanks are allowed.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_BYTES = 1 << 20  # a kdump.conf is a page long; a megabyte is a wrong file


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands; ``name`` is empty where nothing is said."""

    number: int
    text: str
    name: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at ``source:line`` and what to write instead. ``fatal``: the file cannot be obeyed."""

    source: str
    line: int
    what: str
    instead: str
    fatal: bool = True

    def __str__(self) -> str:
        level = "" if self.fatal else "warning: "
        return f"{self.source}:{self.line}: {level}{self.what}; {self.instead}"


def read_lines(text: str, source: str) -> tuple[tuple[Line, ...], tuple[Problem, ...]]:
    """Split a whole file. Never raises: what cannot be read comes back as problems."""
    if len(text) > MAX_BYTES:
        return (), (Problem(source, 1, "the file is larger than 1 MiB", "name a kdump.conf with `--conf`"),)
    lines: list[Line] = []
    problems: list[Problem] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.removesuffix("\r")
        said, problem = _said(line)
        name, _, value = said.partition(" ")
        lines.append(Line(number, line, name, value))
        if problem:
            problems.append(Problem(source, number, *problem))
    if lines and not lines[-1].text:
        lines.pop()  # what follows the last newline is no line
    return tuple(lines), tuple(problems)


def _said(line: str) -> tuple[str, tuple[str, str] | None]:
    """``name value`` of a line with one blank between, or '' for none; and what is wrong with it."""
    # Unprintable is also what Unicode calls blank or line end beyond ASCII; the shells of kdump do not.
    if any((not c.isprintable() and c != "\t") or c == "\ufffd" for c in line):
        return "", ("a byte that is no text", "write plain text; was the file edited with another program?")
    body = line.strip(" \t")
    name = body.split("#", 1)[0].split(None, 1)[0] if body and body[0] != "#" else ""
    if not name:
        return "", None
    rest = body[len(name) :].lstrip(" \t")
    if rest.startswith('"'):
        value, closed, after = rest[1:].partition('"')
        if not closed:
            return name, (f'the value of {name} opens a " that nothing closes', 'close it with "')
        if after.strip(" \t") and not after.lstrip(" \t").startswith("#"):
            # a quoted first word of several, as in: kdump_post "/a b" x; keep what was written
            return f"{name} {_cut_comment(rest)}", None
        return f"{name} {value}", None
    return f"{name} {_cut_comment(rest)}".rstrip(" "), None


def _cut_comment(value: str) -> str:
    """The value before the first ``#`` outside double quotes, without trailing blanks."""
    quoted = False
    for place, char in enumerate(value):
        if char == '"':
            quoted = not quoted
        elif char == "#" and not quoted:
            return value[:place].rstrip(" \t")
    return value.rstrip(" \t")
