"""One session channel, before it is known what the client wants of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncssh
from asyncssh.channel import SSHChannel

# The stream session carries asyncssh's own SFTP server; it is documented only through
# `sftp_factory`, which would take the exec requests away from us.
from asyncssh.stream import SSHServerStreamSession

from receiver.events import CommandRefused
from receiver.hosts.identity import Identity
from receiver.ssh.command import NOT_UNDERSTOOD, Command
from receiver.ssh.door import Door
from receiver.ssh.files import Files

SFTP_VERSION = 6  # lftp asks for it; OpenSSH and kdumptool for 3


class Session(asyncssh.SSHServerSession[bytes]):
    """Becomes a command, SFTP, or a refusal."""

    def __init__(
        self, door: Door, identity: Identity, started: Callable[[], None], ended: Callable[[bool], None]
    ) -> None:
        """`started` is called when the client has said what it wants, `ended` when the channel is closed.

        `ended` is told whether the client ever said it.
        """
        self._door = door
        self._identity = identity
        self._tell_started = started
        self._was_started = False
        self._tell_ended = ended
        self._channel: asyncssh.SSHServerChannel[bytes]
        self._command: Command | None = None
        self._sftp: SSHServerStreamSession[bytes] | None = None
        self._files: Files | None = None
        self._running: asyncio.Task[None] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def shell_requested(self) -> bool:
        """Taken, so that the refusal can say a sentence."""
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = Command(self._door, self._identity, self._channel, command)
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        if subsystem != "sftp":
            return False
        self._sftp = SSHServerStreamSession(None, self._make_files, SFTP_VERSION)
        self._sftp.connection_made(self._channel)
        return True

    def _make_files(self, _channel: SSHChannel[bytes]) -> Files:
        self._files = Files(self._channel, self._door, self._identity)
        return self._files

    def session_started(self) -> None:
        self._was_started = True
        self._tell_started()
        if self._sftp is not None:
            self._sftp.session_started()
        elif self._command is not None:
            self._running = asyncio.get_running_loop().create_task(self._command.run())
        else:
            self._refuse_shell()

    def _refuse_shell(self) -> None:
        text = "kdump-receiver: there is no shell here; kdump sends its dumps with its own commands\r\n"
        self._channel.write_stderr(text.encode())
        reason = "an interactive shell"
        self._door.bus.tell(CommandRefused(self._identity.name, self._identity.peer, "", reason))
        self._channel.exit(NOT_UNDERSTOOD)

    def data_received(self, data: bytes | memoryview, datatype: int | None) -> None:
        if self._command is not None:
            self._command.input.put(data)
        elif self._sftp is not None:
            self._sftp.data_received(bytes(data), datatype)

    def eof_received(self) -> bool:
        if self._command is not None:
            self._command.input.end()
        elif self._sftp is not None:
            self._cut_files()
            return bool(self._sftp.eof_received())
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell_ended(self._was_started)
        if self._command is not None:
            self._command.input.end(f"connection lost: {exc}" if exc else "connection closed by the client")
        if self._sftp is not None:
            self._cut_files()
            self._sftp.connection_lost(exc)

    def _cut_files(self) -> None:
        if self._files is not None:
            self._files.input_over = True

    def pause_writing(self) -> None:
        if self._sftp is not None:
            self._sftp.pause_writing()

    def resume_writing(self) -> None:
        if self._sftp is not None:
            self._sftp.resume_writing()

    def break_received(self, msec: int) -> bool:
        return True

    def signal_received(self, signal: str) -> None:
        """A client that wants its command ended closes the channel, too."""
