"""What one exec request asks for.

A client opens a connection for each command and sends one line meant for a shell. The
lines are few and known; each becomes a record of `vocabulary`, anything else is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace

from receiver.wire import tools
from receiver.wire.lines import Simple, simple_commands
from receiver.wire.refused import Refused
from receiver.wire.vocabulary import (
    Command,
    DiskFree,
    EchoTo,
    Exit,
    InstallKey,
    ListLong,
    MakeDirectory,
    MakeTemporary,
    Move,
    RemoveDirectory,
    ScpSink,
    ScpSource,
    Write,
)
from receiver.wire.words import Operator, Word, check_line_untrusted, split_untrusted

__all__ = [
    "Command",
    "DiskFree",
    "EchoTo",
    "Exit",
    "InstallKey",
    "ListLong",
    "MakeDirectory",
    "MakeTemporary",
    "Move",
    "RemoveDirectory",
    "ScpSink",
    "ScpSource",
    "Write",
    "parse_untrusted",
]


def parse_untrusted(line: str) -> Command:
    """Read one exec request.

    Raises:
        Refused: anything that no kdump client sends; the reason names the word not understood.
    """
    check_line_untrusted(line)
    if _installs_key(line):
        return InstallKey()
    commands = simple_commands(split_untrusted(line))
    if not commands:
        raise Refused("an empty command: there is no shell here")
    for command in commands:
        if command.name not in tools.NAMES:
            raise Refused(
                f"'{command.name}' is not understood: no shell is here, only what kdump clients say"
            )
    umask = tools.umask(commands.pop(0)) if commands[0].name == "umask" else None
    match commands:
        case [Simple(into=None) as only] if only.name in tools.READERS:
            return tools.READERS[only.name](only.words)
        case [Simple(into=Word() as into) as only] if only.name == "echo":
            return tools.echo(only, into)
    return _write(commands, umask)


# ssh-copy-id (4.3p2 to 10.5), Red Hat's and Debian's variants, and EL5's own `ssh -x` line differ in
# every detail, but all append their standard input to a file called authorized_keys. None of it is
# run. OpenSSH 8.4p1 under dash sends an empty script (its here-document was lost), with the keys on
# standard input all the same; they are taken as meant, where a real shell would drop them silently.
_LOST_SCRIPT = re.compile(r"exec\s+sh\s+-c\s+(?:''|\"\")\s*")
_APPENDS = re.compile(r"\bcat\s*>>")


def _installs_key(line: str) -> bool:
    if _LOST_SCRIPT.fullmatch(line.strip()):
        return True
    return "authorized_keys" in line and _APPENDS.search(line) is not None


def _write(commands: list[Simple], umask: str | None) -> Write:
    """``[mkdir -p D &&] dd of=D/F [&& mv D/F D/G]``, or the same with ``cat > D/F``.

    A ``;`` instead of ``&&`` would go on after a failure: nothing to do with a dump.
    """
    match commands:
        case [writer]:
            return _writer(writer, umask)
        case [Simple(into=None) as first, Simple(after=Operator.AND) as writer, *rest] if (
            first.name == "mkdir" and writer.name != "mkdir"
        ):
            made = tools.mkdir(first.words)
            write = _write([writer, *rest], umask)
            if not made.parents or write.path.parent != made.path:
                raise Refused(f"'{write.path}' is not understood: mkdir -p did not make its directory")
            return replace(write, make_parent=True)
        case [writer, Simple(after=Operator.AND, into=None) as last] if last.name == "mv":
            write = _writer(writer, umask)
            move = tools.mv(last.words)
            if move.old != write.path:
                raise Refused(f"'mv {move.old}' is not understood: what was written is {write.path}")
            return replace(write, then_move_to=move.new)
    names = ", ".join(f"'{command.name}'" for command in commands) or "'umask'"
    raise Refused(f"{names} in one line is not understood: no kdump client says that")


def _writer(command: Simple, umask: str | None) -> Write:
    match command:
        case Simple(into=None) if command.name == "dd":
            return tools.dd(command.words, umask)
        case Simple(into=Word() as into) if command.name == "cat":
            return tools.cat(command, into, umask)
    raise Refused(f"'{command.name}' is not understood in this place: no kdump client says that")
