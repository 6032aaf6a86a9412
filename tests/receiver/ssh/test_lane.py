"""The short way of data packets: taken by it or not, however cut, the same bytes arrive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from receiver.ssh import lane
from receiver.ssh.connection import Connection
from receiver.ssh.lane import Lane
from tests.rig.door import KEY, OpenDoor, open_door, until

TEXT = random.Random(7).randbytes(3 << 20)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of the wire that went the short way, call by call."""
    sizes: list[int] = []
    plain = Lane.take

    def take(self: Lane, data: memoryview, start: int) -> int:
        end = plain(self, data, start)
        sizes.append(end - start)
        return end

    monkeypatch.setattr(Lane, "take", take)
    return sizes


def arriving(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], Iterable[bytes]]) -> None:
    """What the socket gave comes as `change` makes it."""
    plain = Connection.data_received

    def data_received(self: Connection, data: bytes, datatype: Any = None) -> None:
        for piece in change(data):
            plain(self, piece, datatype)

    monkeypatch.setattr(Connection, "data_received", data_received)


async def send(door: OpenDoor, data: bytes, **options: Any) -> int | None:
    """An upload as /d/core; the client's exit status."""
    async with door.connect(**options) as client:
        process = await client.create_process("cat > /d/core", encoding=None)
        process.stdin.write(data)
        process.stdin.write_eof()
        return (await process.wait()).exit_status


def kept(directory: Path) -> bytes:
    """What lies there, whole or not yet tidied."""
    (path,) = [
        path
        for path in (directory / "spool" / "d").iterdir()
        if path.name.startswith(("core", ".incoming-")) and path.suffix != ".json"
    ]
    return path.read_bytes()


async def test_stock_ssh_goes_the_short_way(tmp_path: Path, taken: list[int]) -> None:
    """It ends on AES-GCM, which OpenSSH 9.2 names behind AES-CTR, and stays off asyncssh's slower way."""
    (tmp_path / "key").write_bytes(KEY.export_private_key())
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "text").write_bytes(TEXT)
    options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
    async with open_door(tmp_path) as door:
        with (tmp_path / "text").open("rb") as stdin:
            ssh = await asyncio.create_subprocess_exec(
                *("ssh", "-F", "none", *options, "-i", str(tmp_path / "key"), "-p", str(door.port)),
                *("kdump@127.0.0.1", "cat > /d/core"),
                stdin=stdin,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert await asyncio.wait_for(ssh.wait(), 30) == 0
    assert kept(tmp_path) == TEXT
    assert sum(taken) > len(TEXT) * 0.7  # not the packets that a read of the socket ends in


@pytest.mark.parametrize("cipher", ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"])
@pytest.mark.parametrize("seed", range(4))
async def test_however_the_stream_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[int], cipher: str, seed: int
) -> None:
    chance = random.Random(seed)

    def cut(data: bytes) -> Iterable[bytes]:
        at = 0
        while at < len(data):
            size = chance.choice((1, 3, 15, 16, 17, 20, 999, 16384, 32768, 70000))
            yield data[at : at + size]
            at += size

    arriving(monkeypatch, cut)
    async with open_door(tmp_path) as door:
        assert await send(door, TEXT, encryption_algs=[cipher]) == 0
    assert kept(tmp_path) == TEXT
    assert (sum(taken) > 0) is ("gcm" in cipher)


async def test_another_asyncssh_goes_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[int]
) -> None:
    """A name that is gone in a later version closes the short way, and nothing else."""
    monkeypatch.setattr(lane, "_CIPHER", ("_iv", "_key", "_no_such_name"))
    async with open_door(tmp_path) as door:
        assert await send(door, TEXT) == 0
    assert kept(tmp_path) == TEXT
    assert taken == []


async def test_pieces_of_two_sessions_keep_apart(tmp_path: Path, taken: list[int]) -> None:
    """Two uploads and answers to requests, mixed in one connection."""
    async with open_door(tmp_path) as door, door.connect() as client:
        both = [await client.create_process(f"cat > /d/{n}", encoding=None) for n in "ab"]
        for at in range(0, len(TEXT), 100_000):
            for process, data in zip(both, (TEXT, TEXT[::-1]), strict=True):
                process.stdin.write(data[at : at + 100_000])
            if at % 500_000 == 0:
                assert (await client.run("exit")).exit_status == 0
        for process in both:
            process.stdin.write_eof()
            assert (await process.wait()).exit_status == 0
    found = {path.name: path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.name in "ab"}
    assert found == {"a": TEXT, "b": TEXT[::-1]}
    assert sum(taken) > len(TEXT)


async def test_new_keys_in_the_middle(tmp_path: Path, taken: list[int]) -> None:
    """The client asks for new keys each 256 KiB; sequence numbers and nonces begin again."""
    async with open_door(tmp_path) as door:
        assert await send(door, TEXT, rekey_bytes=256 << 10) == 0
    assert kept(tmp_path) == TEXT
    assert sum(taken) > 0


@pytest.mark.parametrize("bit", [3, 9, 200])
async def test_a_bit_that_was_turned_over_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bit: int
) -> None:
    """In a packet's length, its text or its tag: nothing of that packet is kept, nothing after it."""
    count = itertools.count()

    def turn(data: bytes) -> Iterable[bytes]:
        if len(data) > 60_000 and next(count) == 5:
            wrong = bytearray(data)
            for at in range(bit, len(wrong), 1000):
                wrong[at] ^= 0x40
            data = bytes(wrong)
        yield data

    arriving(monkeypatch, turn)
    async with open_door(tmp_path) as door:
        async with door.connect() as client:
            process = await client.create_process("cat > /d/core", encoding=None)
            process.stdin.write(TEXT)
            with contextlib.suppress(asyncssh.Error, OSError):
                await process.stdin.drain()
            await asyncio.wait_for(client.wait_closed(), 10)
        await until(lambda: not door.door.connections)
    assert next(count) > 5
    assert TEXT.startswith(kept(tmp_path))
    assert len(kept(tmp_path)) < len(TEXT)


async def test_more_than_the_window_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends what it has no room for: asyncssh's own refusal, and not a byte of it taken."""
    delivered: list[int] = []

    def deliver(channel: Any, data: bytes, _datatype: Any) -> None:
        delivered.append(len(data))
        channel._recv_window = 0

    async with open_door(tmp_path) as door:
        async with door.connect() as client:
            process = await client.create_process("cat > /d/core", encoding=None)
            monkeypatch.setattr(asyncssh.channel.SSHChannel, "_deliver_data", deliver)
            process.stdin.write(TEXT)
            await asyncio.wait_for(client.wait_closed(), 10)
        await until(lambda: not door.door.connections)
    assert len(delivered) == 1
