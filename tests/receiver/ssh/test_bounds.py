"""Whatever one client does, there is room for the next: every count is bounded."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import asyncssh
import paramiko
import pytest

from receiver.events import LoginRefused
from receiver.ssh import door as doors
from receiver.ssh.files import OPEN_FILES
from receiver.ssh.login import SESSIONS
from tests.rig.door import KEY, open_door, until


async def test_a_connection_has_ten_sessions_at_most(tmp_path: Path) -> None:
    """As sshd's MaxSessions; the next one is refused and the others go on."""
    async with open_door(tmp_path) as door, door.connect() as client:
        writers = [await client.create_process(f"cat > /d/{n}", encoding=None) for n in range(SESSIONS)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.create_process("exit")
        for writer in writers:
            writer.stdin.write(b"text")
            writer.stdin.write_eof()
        done = await asyncio.gather(*(writer.wait() for writer in writers))
        assert [one.exit_status for one in done] == [0] * SESSIONS
        assert (await client.run("exit")).exit_status == 0


async def test_a_client_that_asks_for_nothing_is_sent_away(tmp_path: Path) -> None:
    """It would hold its place for ever, for its ssh answers every keepalive."""
    async with open_door(tmp_path, silence_seconds=5) as door:
        door.door.settings = door.door.settings.model_copy(update={"silence_seconds": 0.3})
        async with door.connect() as idle:
            await asyncio.wait_for(idle.wait_closed(), 10)
        await asyncio.to_thread(open_a_session_and_wait, door.port)
        await until(lambda: not door.door.connections)


def open_a_session_and_wait(port: int) -> None:
    """A session that never says what it wants."""
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(KEY.export_private_key().decode()))
    with paramiko.Transport(("127.0.0.1", port)) as transport:
        transport.connect(username="kdump", pkey=key)
        transport.open_session()
        transport.join(20)
        assert not transport.is_active()


async def test_a_client_that_is_slow_is_not_sent_away(tmp_path: Path) -> None:
    """makedumpfile may think for an hour between two bytes."""
    async with open_door(tmp_path) as door:
        door.door.settings = door.door.settings.model_copy(update={"silence_seconds": 0.2})
        async with door.connect() as slow:
            writer = await slow.create_process("cat > /d/slow", encoding=None)
            writer.stdin.write(b"one ")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(slow.wait_closed(), 0.8)
            writer.stdin.write(b"two")
            writer.stdin.write_eof()
            assert (await writer.wait()).exit_status == 0


async def test_one_address_cannot_keep_the_others_out(tmp_path: Path) -> None:
    """Half of max_connections is for everybody else."""
    async with open_door(tmp_path, max_connections=4) as door:
        async with door.connect(), door.connect():
            with pytest.raises((ConnectionError, asyncssh.Error)):
                async with door.connect():
                    pass
            (refused,) = door.said(LoginRefused)
            assert isinstance(refused, LoginRefused)
            assert "half of max_connections" in refused.reason
        await until(lambda: not door.door.peers)
        async with door.connect() as again:
            assert (await again.run("exit")).exit_status == 0


async def test_one_host_cannot_take_every_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dd says it as it would of its own open files; an upload that ends makes room."""
    monkeypatch.setattr(doors, "UPLOADS_OF_HOST", 2)
    async with open_door(tmp_path) as door, door.connect() as client:
        first = await client.create_process("cat > /d/1", encoding=None)
        second = await client.create_process("cat > /d/2", encoding=None)
        await until(lambda: len(door.door.uploads) == 2)
        third = await client.run("dd of=/d/3", stdin=asyncssh.DEVNULL)
        assert third.exit_status == 1
        assert third.stderr == "dd: failed to open '/d/3': Too many open files\n"
        first.stdin.write_eof()
        assert (await first.wait()).exit_status == 0
        assert (await client.run("dd of=/d/3", input="text")).exit_status == 0
        second.stdin.write_eof()
        await second.wait()


async def test_a_session_has_eight_open_files(tmp_path: Path) -> None:
    """SFTP's OPEN costs a file here; closing one makes room."""
    async with open_door(tmp_path) as door, door.connect() as client, client.start_sftp_client() as sftp:
        files = [await sftp.open(f"/d/{n}", "wb") for n in range(OPEN_FILES)]
        with pytest.raises(asyncssh.SFTPFailure, match="Too many open files"):
            await sftp.open("/d/more", "wb")
        await files.pop().close()
        await (await sftp.open("/d/more", "wb")).close()
        for file in files:
            await file.close()
