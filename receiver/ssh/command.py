"""One exec channel: a command of a kdump client, obeyed without a shell."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

import asyncssh

from receiver.events import CommandDone, CommandRefused
from receiver.hosts.identity import Identity
from receiver.spool.view import View
from receiver.ssh.door import Door, Reception, banner
from receiver.ssh.enrol import enrol
from receiver.ssh.input import Input
from receiver.ssh.scp import fetch, sink
from receiver.wire import answers
from receiver.wire import commands as wire
from receiver.wire.paths import ClientPath
from receiver.wire.refused import Refused, printable

NOT_UNDERSTOOD: Final = 126  # sh's status for a command that cannot be executed


class Command:
    """Runs one command line on one channel."""

    def __init__(
        self, door: Door, identity: Identity, channel: asyncssh.SSHServerChannel[bytes], line: str
    ) -> None:
        self._door = door
        self._identity = identity
        self._channel = channel
        self._line = line
        self.input = Input(channel)

    async def run(self) -> None:
        """Obey, answer, and send the exit status; never raises."""
        try:
            status = await self._obey()
        except Refused as refused:
            self._complain(f"kdump-receiver: {refused}\n")
            self._tell_refused(str(refused))
            status = NOT_UNDERSTOOD
        if not self._channel.is_closing():
            self._channel.exit(status)

    async def _obey(self) -> int:
        command = wire.parse_untrusted(self._line)
        if self._identity.how == "token":
            return await self._obey_token(command)
        view = self._door.view(self._identity, (banner(self._channel), command))
        match command:
            case wire.Write():
                return await self._write(view, command)
            case wire.ScpSink():
                return await sink(self._door, view, command, self.input, self._channel)
            case wire.ScpSource():
                return await fetch(self._door, view, command, self.input, self._channel)
            case wire.EchoTo():
                return await self._echo(view, command)
            case wire.InstallKey():
                raise Refused("this key is enrolled already; another one is added by logging in with a token")
        status = await self._quick(view, command)
        shown = printable(self._line)
        self._door.bus.tell(CommandDone(self._identity.name, self._identity.peer, shown, status))
        return status

    async def _obey_token(self, command: wire.Command) -> int:
        """A token lets a client store its key, and nothing else."""
        match command:
            case wire.Exit():
                return 0
            case wire.InstallKey():
                return await enrol(self._door, self._identity, self.input, self._complain)
        raise Refused("a token only enrols a key; log in with that key to send dumps")

    async def _quick(
        self,
        view: View,
        command: wire.Exit
        | wire.MakeDirectory
        | wire.MakeTemporary
        | wire.DiskFree
        | wire.RemoveDirectory
        | wire.Move
        | wire.ListLong,
    ) -> int:
        """The commands that move no data."""
        off_loop = self._door.off_loop
        tool: answers.Tool
        work: Callable[[], str | None]
        match command:
            case wire.Exit():
                return 0
            case wire.MakeDirectory(path, parents):
                tool, work = "mkdir", partial(view.make_directory, path, parents=parents)
            case wire.MakeTemporary(path):
                tool, work = "mktemp", lambda: f"{view.make_temporary(path)}\n"
            case wire.DiskFree(path, form):
                tool, work = "df", partial(_df, view, form)
            case wire.RemoveDirectory(path):
                tool, work = "rmdir", partial(view.remove_directory, path)
            case wire.Move(path, new):
                tool, work = "mv", partial(self._move, view, path, new)
            case wire.ListLong(path):
                tool, work = "ls", partial(_list, view, path)
            case _:
                assert_never(command)
        try:
            answer = await off_loop(work)
        except OSError as error:
            return self._fail(tool, path.text, error)
        self._say(answer or "")
        return 0

    def _move(self, view: View, old: ClientPath, new: ClientPath) -> None:
        self._door.recorded(view.rename(old, new))

    async def _write(self, view: View, command: wire.Write) -> int:
        """`dd of=F`, `cat > F`: standard input becomes a file."""
        channel = self._channel
        if command.make_parent:
            await self._door.off_loop(lambda: view.make_directory(command.path.parent, parents=True))
        try:
            reception = await Reception.begin(
                self._door,
                view,
                command.path,
                command.tool,
                pause=channel.pause_reading,
                resume=channel.resume_reading,
            )
        except OSError as error:
            return self._fail(command.tool, command.path.text, error)
        await self.input.pour(reception.push, reception.broken)
        lost = self.input.lost
        try:
            stored = await reception.finish(lost, then_move_to=command.then_move_to if lost is None else None)
        except OSError as error:
            return self._fail(command.tool, command.path.text, error)
        if reception.broken.done():
            broken = reception.broken.result()
            if broken.errno is not None:
                self._complain(answers.failure(command.tool, command.path.text, broken.errno))
            else:
                self._complain(f"{command.tool}: error writing '{command.path.text}': {broken}\n")
            return 1
        if stored.file.verdict == "truncated" and stored.file.core:
            self._complain(f"kdump-receiver: {command.path.name} is truncated: {stored.file.reason}\n")
            return self._door.settings.truncated_status
        if command.tool == "dd" and command.summary:
            size, seconds = stored.file.wire_bytes, stored.file.seconds
            self._complain(answers.dd_summary(size, seconds, command.block_bytes or 512))
        if stored.file.core:
            self._complain(answers.kept(stored.file.verdict, stored.file.reason, stored.dump.directory))
        return 0

    async def _echo(self, view: View, command: wire.EchoTo) -> int:
        """`echo TEXT > F`: the line that `kdumpctl test` leaves."""
        try:
            reception = await Reception.begin(
                self._door, view, command.path, "echo", pause=_nothing, resume=_nothing
            )
            reception.push(command.text.encode() + b"\n")
            await reception.finish()
        except OSError as error:
            return self._fail("echo", command.path.text, error)
        return 0

    def _fail(self, tool: answers.Tool, path: str, error: OSError) -> int:
        self._complain(answers.failure(tool, path, error.errno or errno.EIO))
        return 1

    def _say(self, text: str) -> None:
        if text and not self._channel.is_closing():
            self._channel.write(text.encode())

    def _complain(self, text: str) -> None:
        if not self._channel.is_closing():
            self._channel.write_stderr(text.encode())

    def _tell_refused(self, reason: str) -> None:
        shown = printable(self._line)
        self._door.bus.tell(CommandRefused(self._identity.name, self._identity.peer, shown, reason))


def _nothing() -> None:
    """Nobody to hold back."""


def _df(view: View, form: str) -> str:
    space = view.space()
    if form == "avail":
        return answers.df_avail(space.available)
    return answers.df_posix(space.total, space.available)


def _list(view: View, path: ClientPath) -> str:
    found = view.find(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
    return answers.ls_long(path.text, found.size, found.mtime, time.time())
