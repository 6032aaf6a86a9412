"""`scp -t` and `scp -f`: the old scp, which OpenSSH before 9.0 always speaks and `scp -O` still does."""

from __future__ import annotations

import asyncssh

from receiver.spool.view import View
from receiver.ssh.door import Door, Reception
from receiver.ssh.input import Input
from receiver.wire import rcp
from receiver.wire.answers import scp_failure
from receiver.wire.commands import ScpSink, ScpSource
from receiver.wire.paths import ClientPath
from receiver.wire.refused import Refused

Channel = asyncssh.SSHServerChannel[bytes]


async def sink(door: Door, view: View, command: ScpSink, source: Input, channel: Channel) -> int:
    """Take files by the rcp protocol; scp's exit status."""
    is_directory = await door.off_loop(lambda: view.is_directory(command.path))
    protocol = rcp.Sink(command, is_directory=is_directory)
    session = _SinkSession(door, view, protocol, channel)
    for event in protocol.start():
        await session.handle(event)
    while not session.over and (data := await source.next()):
        for event in protocol.feed_untrusted(data):
            await session.handle(event)
    for event in protocol.end():
        await session.handle(event, lost=source.lost)
    return protocol.exit_status


class _SinkSession:
    """The files of one `scp -t`, one after the other."""

    def __init__(self, door: Door, view: View, protocol: rcp.Sink, channel: Channel) -> None:
        self._door = door
        self._view = view
        self._protocol = protocol
        self._channel = channel
        self._reception: Reception | None = None
        self.over = False  # the protocol failed: nothing more is read

    async def handle(self, event: rcp.SinkEvent, lost: str | None = None) -> None:
        match event:
            case rcp.Data(view):
                if self._reception:
                    self._reception.push(view)
                    if self._reception.broken.done():
                        self._protocol.refuse(str(self._reception.broken.result()))
            case rcp.Reply(data):
                if not self._channel.is_closing():
                    self._channel.write(data)
            case rcp.FileStarts():
                await self._start(event)
            case rcp.FileEnds(error):
                await self._end(lost or error)
            case rcp.DirectoryStarts(path):
                await self._directory(path)
            case rcp.Failed():
                self.over = True

    async def _start(self, event: rcp.FileStarts) -> None:
        try:
            self._reception = await Reception.begin(
                self._door,
                self._view,
                event.path,
                "scp",
                pause=self._channel.pause_reading,
                resume=self._channel.resume_reading,
                expected_bytes=event.size,
            )
        except OSError as error:
            self._protocol.refuse(f"{event.path.text}: {error.strerror}")

    async def _end(self, error: str | None) -> None:
        reception, self._reception = self._reception, None
        if reception is None:
            return
        try:
            await reception.finish(error)
        except OSError as failure:
            self._protocol.refuse(f"{failure.strerror}")
        else:
            if reception.broken.done():
                self._protocol.refuse(str(reception.broken.result()))

    async def _directory(self, path: ClientPath) -> None:
        try:
            await self._door.off_loop(lambda: self._view.make_directory(path, parents=True))
        except OSError as error:
            self._protocol.refuse(f"{path.text}: {error.strerror}")


async def fetch(door: Door, view: View, command: ScpSource, source: Input, channel: Channel) -> int:
    """Hand out the one file that a client may read; scp's exit status."""
    try:
        content = await door.off_loop(lambda: view.read_status(command.path))
    except OSError as error:
        channel.write(scp_failure(f"{command.path.text}: {error.strerror}"))
        return 1
    if command.recursive:
        raise Refused("nothing is read back but the result of a kdump test")
    protocol = rcp.Source(command.path.name, content)
    status = 1
    while data := await source.next():
        for event in protocol.feed_untrusted(data):
            match event:
                case rcp.Reply(reply):
                    channel.write(reply)
                case rcp.Sent():
                    return 0
                case rcp.Failed():
                    return 1
    return status
