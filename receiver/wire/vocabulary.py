"""What a client may ask for: one record a request, and no other requests.

The literal lines, by client and version, are in tests/receiver/wire/test_commands.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from receiver.wire.paths import ClientPath


@dataclass(frozen=True, slots=True)
class Exit:
    """``exit``: ssh-copy-id asks whether its key already opens the door."""


@dataclass(frozen=True, slots=True)
class InstallKey:
    """Any ssh-copy-id's installer: the public keys follow on standard input, one a line."""


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """``mkdir [-p] D``."""

    path: ClientPath
    parents: bool


@dataclass(frozen=True, slots=True)
class MakeTemporary:
    """``mktemp -dqp P``: the write test of an initrd build; the answer is the new directory's path."""

    parent: ClientPath


@dataclass(frozen=True, slots=True)
class DiskFree:
    """``df -P P`` or ``df --output=avail P``."""

    path: ClientPath
    form: Literal["posix", "avail"]


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """``rmdir D``: the end of the write test."""

    path: ClientPath


@dataclass(frozen=True, slots=True)
class Write:
    """Standard input becomes the file `path`, by ``dd of=F`` or ``cat > F``.

    ``make_parent``: ``mkdir -p D &&`` came before. ``then_move_to``: ``&& mv F G`` follows.
    ``block_bytes``: dd's ``bs=`` where given. ``umask`` (as sent) and ``quoted`` (the path was)
    change nothing here but tell the clients apart; ``summary`` is false for ``status=none``.
    """

    path: ClientPath
    tool: Literal["dd", "cat"]
    make_parent: bool = False
    then_move_to: ClientPath | None = None
    block_bytes: int | None = None
    umask: str | None = None
    quoted: bool = False
    summary: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """``mv OLD NEW``."""

    old: ClientPath
    new: ClientPath
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class ListLong:
    """``ls -l F``: how far has my upload come?"""

    path: ClientPath


@dataclass(frozen=True, slots=True)
class EchoTo:
    """``echo TEXT > F``; the newline that echo adds is not in `text`."""

    text: str
    path: ClientPath


@dataclass(frozen=True, slots=True)
class ScpSink:
    """``scp -t F``: the client sends by the rcp protocol. ``directory``: F must be one (``-d``)."""

    path: ClientPath
    directory: bool = False
    recursive: bool = False
    preserve: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class ScpSource:
    """``scp -f F``: the client fetches by the rcp protocol."""

    path: ClientPath
    recursive: bool = False
    preserve: bool = False
    verbose: bool = False


Command = (
    Exit
    | InstallKey
    | MakeDirectory
    | MakeTemporary
    | DiskFree
    | RemoveDirectory
    | Write
    | Move
    | ListLong
    | EchoTo
    | ScpSink
    | ScpSource
)
