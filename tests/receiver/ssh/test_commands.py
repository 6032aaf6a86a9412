"""Exec requests that no stock client can send, or not so many of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from receiver.events import CommandDone, CommandRefused, UploadFinished
from receiver.spool.names import ANNOUNCED_MAX
from tests.rig.door import OpenDoor, open_door, until

ODD = {
    "a NUL": "dd of=/var/crash/a\0b",
    "an escape": "dd of=/var/crash/\x1b[2Jb",
    "a newline in a name": "dd of='/var/crash/a\nb'",
    "bidirectional text": "dd of=/var/crash/\N{RIGHT-TO-LEFT OVERRIDE}b",
    "blanks": "   ",
    "another command": "id",
    "a command behind a good one": "mkdir -p /a; id",
    "a substitution": "mkdir -p /a/$(id)",
    "a pipe": "dd of=/a | sh",
    "a background": "dd of=/a &",
    "a redirection": "dd of=/a < /etc/passwd",
    "the source of dd": "dd if=/etc/passwd of=/a/b",
    "append": "cat >> /a/b",
    "an endless line": "x" * 200_000,
    "many words": "mkdir " + "-p " * 50_000,
    "many commands": "mkdir /a;" * 1500,
    "deep quotes": "dd of=" + "'" * 3001,
}


@pytest.mark.parametrize("what", ODD)
async def test_what_no_client_says_is_refused(tmp_path: Path, what: str) -> None:
    """Status 126, one printable line for the client and one for the log, and nothing comes into being."""
    async with open_door(tmp_path) as door, door.connect() as client:
        done = await client.run(ODD[what], stdin=asyncssh.DEVNULL)
        assert done.exit_status == 126
        assert isinstance(done.stderr, str)
        assert done.stderr.startswith("kdump-receiver: ")
        assert done.stderr.removesuffix("\n").isprintable()
        assert len(done.stderr) < 400
        (refused,) = door.said(CommandRefused)
        assert isinstance(refused, CommandRefused)
        assert refused.command.isprintable()
        assert len(refused.command) < 400
        assert [path.name for path in door.door.spool.root.iterdir()] == [".state"]


async def test_thousands_of_directories_cost_a_few_files(tmp_path: Path) -> None:
    """`mkdir -p` alone begins no dump, and only so many are remembered; the newest are."""
    async with open_door(tmp_path) as door, door.connect() as client:
        for number in range(ANNOUNCED_MAX + 100):
            done = await client.run(f"mkdir -p /var/crash/{number}", stdin=asyncssh.DEVNULL)
            assert done.exit_status == 0
        remembered = list((door.door.spool.state / "names/web01/announced").iterdir())
        assert len(remembered) <= ANNOUNCED_MAX
        assert [path.name for path in door.door.spool.root.iterdir()] == [".state"]
        assert (await client.run(f"rmdir /var/crash/{number}")).exit_status == 0


async def test_standard_input_of_a_quick_command_is_left_alone(tmp_path: Path) -> None:
    """A client that pipes gigabytes into `mkdir` is answered, and nothing of it is kept."""
    async with open_door(tmp_path) as door, door.connect() as client:
        process = await client.create_process("mkdir -p /var/crash", encoding=None)
        process.stdin.write(bytes(1 << 20))
        assert (await process.wait()).exit_status == 0
        assert isinstance(door.said(CommandDone)[0], CommandDone)


@pytest.mark.parametrize("command", ["dd of=/d/vmcore", "cat > /d/vmcore"])
async def test_status_0_comes_when_the_bytes_are_on_disk(tmp_path: Path, command: str) -> None:
    """Durable before polite: the file is there under its name when the client hears of it."""
    async with open_door(tmp_path) as door, door.connect() as client:
        done = await client.run(command, input=b"KDUMP   rest", encoding=None)
        assert done.exit_status == 0
        (stored,) = door.said(UploadFinished)
        assert isinstance(stored, UploadFinished)
        assert (door.door.spool.root / stored.directory / stored.file).read_bytes() == b"KDUMP   rest"


async def lost(door: OpenDoor, sent: bytes) -> UploadFinished:
    """Send `sent`, cut the connection, and see what was stored."""
    async with door.connect() as client:
        process = await client.create_process("dd of=/d/vmcore", encoding=None)
        process.stdin.write(sent)
        await until(lambda: door.door.uploads)
        await process.stdin.drain()
        await client.run("exit")  # the bytes before it have come
        client.abort()
    await asyncio.wait_for(door.door.idle.wait(), 10)
    (stored,) = door.said(UploadFinished)
    assert isinstance(stored, UploadFinished)
    return stored


async def test_a_lost_connection_keeps_what_came(tmp_path: Path) -> None:
    """A client that dies without an end of input leaves a truncated core with every byte that arrived."""
    async with open_door(tmp_path) as door:
        stored = await lost(door, b"\x7fELF" + bytes(3 << 20))
        assert stored.bytes == (3 << 20) + 4
        assert (stored.verdict, stored.file) == ("truncated", "vmcore.incomplete")
        assert "connection" in stored.reason


async def test_truncated_cores_are_answered_as_the_settings_say(tmp_path: Path, data: Path) -> None:
    """truncated_status = 75: a stream without its end is stored all the same, and its sender hears of it."""
    half = (data / "vmcore.flat").read_bytes()[:1_000_000]
    async with open_door(tmp_path, truncated_status=75) as door, door.connect() as client:
        done = await client.run("dd of=/d/vmcore-incomplete", input=half, encoding=None)
        assert done.exit_status == 75
        assert isinstance(done.stderr, bytes)
        assert b"is truncated: end record missing" in done.stderr
        assert (await client.run("dd of=/d/log.txt", input="text")).exit_status == 0


async def test_what_a_core_is_stands_behind_dds_own_words(tmp_path: Path, data: Path) -> None:
    """On the client's console, where nothing reads it but people; a text is answered as dd answers."""
    async with open_door(tmp_path) as door, door.connect() as client:
        core = (data / "vmcore.flat").read_bytes()
        done = await client.run("dd of=/d/vmcore-incomplete", input=core, encoding=None)
        assert isinstance(done.stderr, bytes)
        *of_dd, ours = done.stderr.splitlines()
        assert len(of_dd) == 3
        assert ours.startswith(b"kdump-receiver: the core is complete, kept in ")
        text = await client.run("dd of=/d/log.txt", input="text")
        assert "kdump-receiver" not in str(text.stderr)


async def test_a_stream_that_breaks_its_format_is_refused_while_it_comes(tmp_path: Path, data: Path) -> None:
    """dd's words and status 1; what came before the fault is kept as damaged."""
    stream = bytearray((data / "vmcore.flat").read_bytes())
    stream[4096:4112] = b"\xee" * 16  # the first record's offset and size
    async with open_door(tmp_path) as door, door.connect() as client:
        done = await client.run("dd of=/d/vmcore", input=bytes(stream), encoding=None)
        assert done.exit_status == 1
        assert isinstance(done.stderr, bytes)
        assert done.stderr.startswith(b"dd: error writing '/d/vmcore': ")
        (stored,) = door.said(UploadFinished)
        assert isinstance(stored, UploadFinished)
        assert stored.verdict == "damaged"


async def test_a_dump_that_is_too_large_is_refused_while_it_comes(tmp_path: Path) -> None:
    """max_dump_bytes: the client hears it as dd's error, and what came is kept."""
    async with open_door(tmp_path, max_dump_bytes=1 << 20) as door, door.connect() as client:
        done = await client.run("dd of=/d/vmcore", input=b"\x7fELF" + bytes(2 << 20), encoding=None)
        assert done.exit_status == 1
        (stored,) = door.said(UploadFinished)
        assert isinstance(stored, UploadFinished)
        assert stored.verdict == "truncated"
