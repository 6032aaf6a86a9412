"""The old scp's protocol through the door, where a client or the disk breaks it off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from receiver.events import UploadFinished
from tests.rig.door import OpenDoor, open_door

OK = b"\0"


async def scp(door: OpenDoor, sent: bytes, command: str = "scp -t /d/vmcore") -> tuple[bytes, int | None]:
    """All of `sent` at once: the sink's answers, and its exit status."""
    async with door.connect() as client:
        done = await client.run(command, input=sent, encoding=None)
        assert isinstance(done.stdout, bytes)
        return done.stdout, done.exit_status


def stored(door: OpenDoor) -> list[tuple[str, str]]:
    """Names and verdicts, in order."""
    return [
        (event.file, event.verdict)
        for event in door.said(UploadFinished)
        if isinstance(event, UploadFinished)
    ]


async def test_a_file_and_its_answers(tmp_path: Path) -> None:
    """Byte 0 to the start, the header and the end; status 0."""
    async with open_door(tmp_path) as door:
        answers = await scp(door, b"C0400 4 vmcore\ntext\0")
        assert answers == (OK * 3, 0)
        assert stored(door) == [("vmcore", "complete")]


async def test_a_client_that_stops_inside_a_file(tmp_path: Path) -> None:
    """The header promised more: what came is kept as truncated, and scp's status is 1."""
    async with open_door(tmp_path) as door:
        answers = await scp(door, b"C0400 400 kexec-dmesg.log\nhalf", "scp -t /d/kexec-dmesg.log")
        assert answers == (OK * 2, 1)
        assert stored(door) == [("kexec-dmesg.log.incomplete", "truncated")]


async def test_a_client_that_reports_its_own_read_error(tmp_path: Path) -> None:
    """Byte 1 after the data: /proc/vmcore could not be read to its end."""
    async with open_door(tmp_path) as door:
        _, status = await scp(
            door, b"C0400 4 x\ntext\x01scp: /proc/vmcore: Input/output error\n", "scp -t /d/x"
        )
        assert status == 1
        assert stored(door) == [("x.incomplete", "truncated")]


async def test_more_than_fits_is_refused_before_a_byte_is_taken(tmp_path: Path) -> None:
    """The header says the size: a file beyond max_dump_bytes or the free space never begins."""
    async with open_door(tmp_path, max_dump_bytes=1000) as door:
        answers, status = await scp(door, b"C0400 2000 vmcore\n")
        assert answers.startswith(OK + b"\x01scp: /d/vmcore: File too large")
        assert (status, stored(door)) == (1, [])
    async with open_door(tmp_path / "full", keep_free="8000P") as door:
        answers, status = await scp(door, b"C0400 2000 vmcore\n")
        assert b"No space left on device" in answers
        assert (status, stored(door)) == (1, [])


async def test_after_a_refused_file_the_next_one_is_taken(tmp_path: Path) -> None:
    """`scp a b HOST:D/`: the error of one is not the other's."""
    async with open_door(tmp_path, max_dump_bytes=1000) as door:
        sent = b"C0600 2000 a\n" + b"C0600 4 b\ntext\0"
        answers, status = await scp(door, sent, "scp -t -d /d/")
        assert answers.count(b"\x01") == 1
        assert (status, stored(door)) == (1, [("b", "complete")])


@pytest.mark.parametrize("cut", [1, 10, 16, 17, 20])
async def test_a_connection_lost_anywhere_ends_the_upload(tmp_path: Path, cut: int) -> None:
    """No reception stays open behind a client that is gone."""
    async with open_door(tmp_path) as door:
        async with door.connect() as client:
            process = await client.create_process("scp -t /d/vmcore", encoding=None)
            process.stdin.write(b"C0400 9 vmcore\ntext, more"[:cut])
            await process.stdin.drain()
            await client.run("exit")
            client.abort()
        await asyncio.wait_for(door.door.idle.wait(), 10)
        assert all(verdict == "truncated" for _, verdict in stored(door))


async def test_only_the_result_of_a_test_is_handed_out(tmp_path: Path) -> None:
    """`scp -f`: the one read, of the client's own file."""
    status_file = "/d/vmcore-creation.status"
    async with open_door(tmp_path) as door, door.connect() as client:
        await client.run(f"echo success kdump_test_id=1-2 > {status_file}", check=True)
        done = await client.run(f"scp -f {status_file}", input=OK * 3, encoding=None)
        sent = b"C0600 26 vmcore-creation.status\nsuccess kdump_test_id=1-2\n\0"
        assert (done.stdout, done.exit_status) == (sent, 0)
        refused = await client.run(f"scp -r -f {status_file}", input=OK * 3, encoding=None)
        assert refused.exit_status == 126
        gone = await client.run("scp -f /d/vmcore", input=OK, encoding=None)
        assert (gone.exit_status, gone.stdout) == (1, b"\x01scp: /d/vmcore: No such file or directory\n")
        long = await client.run(f"cat > {status_file}", input=b"x" * 5000, encoding=None)
        assert long.exit_status == 0
        denied = await client.run(f"scp -f {status_file}", input=OK, encoding=None)
        assert (denied.exit_status, denied.stdout) == (
            1,
            f"\x01scp: {status_file}: Permission denied\n".encode(),
        )
