"""SFTP requests in any order that a client's window makes, and those that no dump survives."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from receiver.events import UploadFinished
from receiver.ssh.files import WINDOW
from tests.rig.door import OpenDoor, open_door

BLOCK = 32768


@asynccontextmanager
async def session(directory: Path, version: int = 3) -> AsyncIterator[tuple[OpenDoor, asyncssh.SFTPClient]]:
    """A door and an SFTP session through it."""
    async with (
        open_door(directory) as door,
        door.connect() as client,
        client.start_sftp_client(sftp_version=version) as sftp,
    ):
        yield door, sftp


def stored(door: OpenDoor) -> UploadFinished:
    """The last upload."""
    event = door.said(UploadFinished)[-1]
    assert isinstance(event, UploadFinished)
    return event


@pytest.mark.parametrize("version", [3, 4, 5, 6])
async def test_writes_out_of_order_make_the_same_file(tmp_path: Path, data: Path, version: int) -> None:
    """A window of writes may be answered, and arrive, in any order; the stream is fed in its own."""
    content = (data / "vmcore.flat").read_bytes()
    offsets = list(range(0, len(content), BLOCK))
    mixer = random.Random(7)
    async with session(tmp_path, version) as (door, sftp):
        file = await sftp.open("/d/vmcore", "wb")
        for at in range(0, len(offsets), 16):
            window = offsets[at : at + 16]
            mixer.shuffle(window)
            await asyncio.gather(*(file.write(content[offset : offset + BLOCK], offset) for offset in window))
        await file.close()
        assert (stored(door).verdict, stored(door).wire_bytes) == ("complete", len(content))


async def test_what_lies_beyond_the_window_is_refused(tmp_path: Path) -> None:
    """Memory is bounded: who writes a file from its end is told so, and what fitted is kept."""
    async with session(tmp_path) as (door, sftp):
        file = await sftp.open("/d/text", "wb")
        await file.write(b"begin", 0)

        async def write_from_the_end() -> None:
            for offset in range(1 << 20, (1 << 20) + 2 * WINDOW, BLOCK):
                await file.write(bytes(BLOCK), offset)

        with pytest.raises(asyncssh.SFTPError, match="from its first byte to its last"):
            await write_from_the_end()
        with pytest.raises(asyncssh.SFTPError, match="bytes are missing at 5"):
            await file.close()
        assert (stored(door).bytes, stored(door).verdict) == (5, "truncated")


@pytest.mark.parametrize("offset", [0, 3])
async def test_written_bytes_are_not_written_again(tmp_path: Path, offset: int) -> None:
    """What has been fed to the rearranger cannot be taken back."""
    async with session(tmp_path) as (door, sftp):
        file = await sftp.open("/d/text", "wb")
        await file.write(b"begin", 0)
        with pytest.raises(asyncssh.SFTPError):
            await file.write(b"again", offset)
        await file.close()
        assert stored(door).bytes == 5


async def test_a_session_that_ends_without_close_is_cut(tmp_path: Path) -> None:
    """`kill -9` of the client's sftp: the half file is stored as truncated, never as complete."""
    async with open_door(tmp_path) as door, door.connect() as client:
        sftp = await client.start_sftp_client()
        file = await sftp.open("/d/kexec-dmesg.log", "wb")
        await file.write(b"half of it", 0)
        sftp.exit()
        await sftp.wait_closed()
        await asyncio.wait_for(door.door.idle.wait(), 10)
        assert (stored(door).verdict, stored(door).file) == ("truncated", "kexec-dmesg.log.incomplete")


async def test_close_answers_when_the_bytes_are_on_disk(tmp_path: Path) -> None:
    """Durable before polite, for SFTP."""
    content = random.Random(7).randbytes(1 << 20)
    async with session(tmp_path) as (door, sftp):
        file = await sftp.open("/d/x", "wb")
        await file.write(content, 0)
        await file.close()
        path = door.door.spool.root / stored(door).directory / stored(door).file
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()


async def test_extensions_do_nothing_that_requests_may_not(tmp_path: Path) -> None:
    """posix-rename, hardlink, fsync, statvfs, copy-data: of use to honest clients, of none to others."""
    async with session(tmp_path) as (door, sftp):
        async with sftp.open("/d/vmcore-incomplete", "wb") as file:
            await file.write(b"KDUMP   ", 0)
            await file.fsync()
            assert (await file.stat()).size == 8
        await sftp.posix_rename("/d/vmcore-incomplete", "/d/vmcore")
        with pytest.raises(asyncssh.SFTPError):
            await sftp.posix_rename("/d/vmcore", "/d/other")
        with pytest.raises(asyncssh.SFTPPermissionDenied):
            await sftp.link("/d/vmcore", "/d/link")
        with pytest.raises(asyncssh.SFTPError):
            await sftp.copy("/d/vmcore", "/d/copy")
        with pytest.raises(asyncssh.SFTPError):
            await sftp.listdir("/d")
        assert (await sftp.statvfs("/")).bavail > 0
        assert (await sftp.realpath("../../d/./x")) == "/d/x"
        await sftp.chmod("/d/vmcore", 0o777)
        await sftp.truncate("/d/vmcore", 0)
        directory = door.door.spool.root / stored(door).directory
        assert (directory / stored(door).file).read_bytes() == b"KDUMP   "


@pytest.mark.parametrize("name", ["/..", "/a/../../b", "/a\0b", "/\x1b[2J", "/" + "n" * 256, "/x" * 600])
async def test_odd_names_are_denied_in_every_request(tmp_path: Path, name: str) -> None:
    """One status, in words, and no directory or file."""
    async with session(tmp_path) as (door, sftp):
        for request in (sftp.stat(name), sftp.mkdir(name), sftp.open(name, "wb"), sftp.remove(name)):
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await request
        assert [path.name for path in door.door.spool.root.iterdir()] == [".state"]


async def test_statvfs_of_an_open_file(tmp_path: Path) -> None:
    """fstatvfs: `df` of clients that ask by handle."""
    async with session(tmp_path) as (_, sftp), sftp.open("/d/x", "wb") as file:
        assert (await file.statvfs()).bavail > 0
