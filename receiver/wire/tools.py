"""Each tool's words: its options and operands, as coreutils 9 and OpenSSH's scp read them.

Options that cannot change what is stored (``-f`` of mv, ``conv=fsync``, ``oflag=direct``)
are taken and forgotten; others are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.wire import paths
from receiver.wire.lines import Simple
from receiver.wire.paths import ClientPath
from receiver.wire.refused import Refused
from receiver.wire.vocabulary import (
    Command,
    DiskFree,
    EchoTo,
    Exit,
    ListLong,
    MakeDirectory,
    MakeTemporary,
    Move,
    RemoveDirectory,
    ScpSink,
    ScpSource,
    Write,
)
from receiver.wire.words import Word


def umask(command: Simple) -> str:
    operands = command.words[1:]
    if command.into is not None or len(operands) != 1 or not re.fullmatch("[0-7]{1,4}", operands[0].text):
        raise Refused("'umask' is not understood but with one octal mask")
    return operands[0].text


def _operands(words: tuple[Word, ...], flags: str) -> tuple[set[str], list[Word]]:
    """Read short options as GNU getopt does: before or after operands, joined or not, up to ``--``."""
    seen: set[str] = set()
    operands: list[Word] = []
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word.text == "--":
            return seen, operands + rest
        if not word.text.startswith("-") or word.text == "-":
            operands.append(word)
            continue
        for flag in word.text[1:]:
            if flag not in flags:
                raise Refused(f"'{word.text}' is not understood: no kdump client says it to {words[0].text}")
            seen.add(flag)
    return seen, operands


def _one_path(name: str, operands: list[Word]) -> ClientPath:
    if len(operands) != 1:
        raise Refused(f"'{name}' is not understood but with one path; a path with blanks needs quotes")
    return paths.parse_untrusted(operands[0].text)


def _file(word: Word) -> ClientPath:
    path = paths.parse_untrusted(word.text)
    if path.trailing_slash or not path.parts:
        raise Refused(f"'{word.text}' is not understood: a directory is not a file")
    return path


def leave(words: tuple[Word, ...]) -> Exit:
    if len(words) > 1:
        raise Refused(f"'{words[1].text}' is not understood after exit")
    return Exit()


def mkdir(words: tuple[Word, ...]) -> MakeDirectory:
    flags, operands = _operands(words, "p")
    return MakeDirectory(_one_path("mkdir", operands), parents="p" in flags)


def rmdir(words: tuple[Word, ...]) -> RemoveDirectory:
    return RemoveDirectory(_one_path("rmdir", _operands(words, "")[1]))


def mktemp(words: tuple[Word, ...]) -> MakeTemporary:
    """``-dqp P`` in any order; ``-p`` takes the rest of its word or the next word."""
    directory = False
    parent: list[Word] = []
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        flags, p, attached = word.text.partition("p")
        if not flags.startswith("-") or set(flags[1:]) - set("dq"):
            raise Refused(f"'{word.text}' is not understood: no kdump client says it to mktemp")
        directory = directory or "d" in flags
        if p:
            parent += [Word(attached)] if attached else rest[:1]
            rest = rest if attached else rest[1:]
    if not directory:
        raise Refused(
            "'mktemp' is not understood without -d: only the directory of a write test is made here"
        )
    return MakeTemporary(_one_path("mktemp -p", parent))


def df(words: tuple[Word, ...]) -> DiskFree:
    avail = [word for word in words[1:] if word.text == "--output=avail"]
    flags, operands = _operands(tuple(word for word in words if word not in avail), "P")
    if bool(avail) == bool(flags):
        raise Refused("'df' is not understood but with either -P or --output=avail")
    return DiskFree(_one_path("df", operands), form="avail" if avail else "posix")


def mv(words: tuple[Word, ...]) -> Move:
    """``mv OLD NEW``, both files: no client moves a directory or into one."""
    operands = _operands(words, "fT")[1]
    if len(operands) != 2:
        raise Refused("'mv' is not understood but with two paths; a path with blanks needs quotes")
    old, new = operands
    return Move(_file(old), _file(new), quoted=old.quoted and new.quoted)


def ls(words: tuple[Word, ...]) -> ListLong:
    flags, operands = _operands(words, "l")
    if not flags:
        raise Refused("'ls' is not understood without -l")
    return ListLong(_one_path("ls", operands))


_SIZE = re.compile(r"([0-9]{1,12})([A-Za-z]{0,3})")
_UNITS = {"": 1, "c": 1, "w": 2, "b": 512, "k": 1 << 10}
for _power, _letter in enumerate("KMG", start=1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}iB": 1024**_power, f"{_letter}B": 1000**_power}
_UNITS["kB"] = _UNITS["KB"]
_MAX_BLOCK = 1 << 30
_HARMLESS = {
    "conv": {"fsync", "fdatasync"},
    "oflag": {"direct", "sync", "dsync"},
    "iflag": {"fullblock"},
    "status": {"none", "noxfer", "progress"},
}


def dd(words: tuple[Word, ...], umask: str | None) -> Write:
    """``dd of=F [bs=N] …``; what would read another file, or store other bytes than were sent, is refused."""
    target: Word | None = None
    block_bytes: int | None = None
    summary = True
    operands = words[2:] if words[1:2] == (Word("--"),) else words[1:]
    for word in operands:
        key, _, value = word.text.partition("=")
        if key == "of" and target is None:
            target = Word(value, word.quoted)
        elif key in {"bs", "obs", "ibs"}:
            block_bytes = _block_bytes(word.text, value)
        elif key in _HARMLESS and set(value.split(",")) <= _HARMLESS[key]:
            summary = summary and (key, value) != ("status", "none")
        else:
            raise Refused(f"'{word.text}' is not understood: no kdump client says it to dd")
    if target is None:
        raise Refused("'dd' is not understood without of=FILE")
    return Write(
        _file(target), "dd", block_bytes=block_bytes, umask=umask, quoted=target.quoted, summary=summary
    )


def _block_bytes(word: str, value: str) -> int:
    found = _SIZE.fullmatch(value)
    if found is None or found[2] not in _UNITS:
        raise Refused(f"'{word}' is not understood: not a size")
    number, factor = int(found[1]), _UNITS[found[2]]
    if not 0 < number * factor <= _MAX_BLOCK:
        raise Refused(f"'{word}' is not understood: a block has 1 to {_MAX_BLOCK} bytes")
    return number * factor


def cat(command: Simple, into: Word, umask: str | None) -> Write:
    operands = [word.text for word in command.words[1:]]
    if operands not in ([], ["-"]):
        raise Refused(f"'{operands[0]}' is not understood: cat writes what the client sends, nothing else")
    return Write(_file(into), "cat", umask=umask, quoted=into.quoted)


def echo(command: Simple, into: Word) -> EchoTo:
    text = " ".join(word.text for word in command.words[1:])
    # Shells disagree about options and backslashes of echo, and no client sends either.
    if text.startswith("-") or "\\" in text or "\n" in text:
        raise Refused(f"'{text}' is not understood: echo writes plain words here")
    return EchoTo(text, _file(into))


def scp(words: tuple[Word, ...]) -> ScpSink | ScpSource:
    """``scp [-v] [-r] [-p] [-d] -t|-f [--] F``, as scp.c's `toremote` and `tolocal` write it."""
    flags, operands = _operands(words, "vrpdtf")
    path = _one_path("scp", operands)
    recursive, preserve, verbose = "r" in flags, "p" in flags, "v" in flags
    match "t" in flags, "f" in flags:
        case True, False:
            return ScpSink(path, "d" in flags, recursive, preserve, verbose)
        case False, True:
            return ScpSource(path, recursive, preserve, verbose)
    raise Refused("'scp' is not understood but with either -t or -f: only its remote side is here")


READERS: dict[str, Callable[[tuple[Word, ...]], Command]] = {
    "exit": leave,
    "mkdir": mkdir,
    "rmdir": rmdir,
    "mktemp": mktemp,
    "df": df,
    "mv": mv,
    "ls": ls,
    "scp": scp,
}
NAMES = READERS.keys() | {"cat", "dd", "echo", "umask"}
