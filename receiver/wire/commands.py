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
    umask = None
    if commands and commands[0].name == "umask":
        umask = tools.umask(commands.pop(0))
        if not commands:
            raise Refused("a umask alone does nothing here")
    match commands:
        case []:
            raise Refused("an empty command: there is no shell here")
        case [Simple(into=None) as only] if umask is None or only.name == "dd":
            return _alone(only, umask)
        case [Simple(into=Word() as into) as only] if only.name == "cat":
            return tools.cat(only, into, umask)
        case [Simple(into=Word() as into) as only] if only.name == "echo" and umask is None:
            return tools.echo(only, into)
        case [first, Simple(after=Operator.AND) as second]:
            return _pair(first, second, umask)
    raise Refused(f"'{commands[0].name}' is not understood in this place: no kdump client sends such a line")


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


def _alone(command: Simple, umask: str | None) -> Command:
    if command.name == "dd":
        return tools.dd(command.words, umask)
    reader = tools.READERS.get(command.name)
    if reader is None:
        raise Refused(
            f"'{command.name}' is not understood: only what kdump clients send is served here, no shell"
        )
    return reader(command.words)


def _pair(first: Simple, second: Simple, umask: str | None) -> Command:
    """``dd of=F && mv F G`` and ``mkdir -p D && cat > D/F``."""
    match first.name, second.name:
        case "dd", "mv" if first.into is None and second.into is None:
            write = tools.dd(first.words, umask)
            move = tools.mv(second.words)
            if move.old != write.path:
                raise Refused(f"'mv {move.old}' is not understood: dd wrote {write.path}")
            return replace(write, then_move_to=move.new)
        case "mkdir", "cat" if first.into is None and second.into is not None:
            made = tools.mkdir(first.words)
            write = tools.cat(second, second.into, umask)
            if write.path.parent != made.path:
                raise Refused(f"'cat > {write.path}' is not understood: mkdir made {made.path}")
            return replace(write, make_parent=True)
    raise Refused(f"'{first.name} … && {second.name} …' is not understood: no kdump client sends it")
