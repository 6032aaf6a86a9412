"""Between the loop and the disk: order kept, memory bounded, and a broken disk told at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from receiver.spool.writer import Broken, Upload
from receiver.ssh.feed import BATCH, PAUSE, ROOM, Feed
from receiver.ssh.input import HELD, Input


class Disk:
    """Stands for an Upload: takes bytes when it is let, and can be full."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.taken = bytearray()
        self.calls = 0
        self.room: int | None = None

    def write(self, data: bytes | memoryview) -> None:
        assert self.free.wait(30)
        self.calls += 1
        self.taken += data
        if self.room is not None and len(self.taken) > self.room:
            raise Broken("No space left on device", 28)

    def finish(self, broken: str | None = None, *, requested: Sequence[str] = ()) -> str:
        return broken or "whole"


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def feed(disk: Disk, executor: ThreadPoolExecutor) -> tuple[Feed, list[str]]:
    """A feed, and what it said to the client's channel."""
    said: list[str] = []
    upload = cast(Upload, disk)
    return Feed(upload, executor, lambda: said.append("pause"), lambda: said.append("resume")), said


async def test_bytes_reach_the_disk_in_order_and_in_batches(executor: ThreadPoolExecutor) -> None:
    """Small packets are put together: a hand-over for each would cost a third of the throughput."""
    disk = Disk()
    disk.free.set()
    ours, _ = feed(disk, executor)
    sent = b"".join(number.to_bytes(4) for number in range(200_000))
    for at in range(0, len(sent), 1000):
        ours.push(sent[at : at + 1000])
    assert cast(Any, await ours.finish()) == "whole"
    assert bytes(disk.taken) == sent
    assert disk.calls <= 3


async def test_a_slow_disk_holds_the_client_back(executor: ThreadPoolExecutor) -> None:
    """One batch under way and some waiting: then the client is paused, and goes on when there is room."""
    disk = Disk()
    ours, said = feed(disk, executor)
    for _ in range(1 + PAUSE // BATCH):
        assert said == []
        ours.push(bytes(BATCH))
    assert said == ["pause"]
    ours.push(b"what was under way")
    assert said == ["pause"]
    disk.free.set()
    await ours.finish()
    assert said == ["pause", "resume"]
    assert len(disk.taken) == BATCH + PAUSE + 18


async def test_what_was_under_way_when_the_client_was_paused_is_kept(executor: ThreadPoolExecutor) -> None:
    """SFTP clients have many requests on the way; the memory grows with them, in order."""
    disk = Disk()
    ours, _ = feed(disk, executor)
    ours.push(bytes(BATCH))
    ours.push(b"a" * PAUSE)
    for letter in b"bcd":
        ours.push(bytes([letter]) * ROOM)
    disk.free.set()
    await ours.finish()
    assert disk.taken[BATCH:] == b"a" * PAUSE + b"b" * ROOM + b"c" * ROOM + b"d" * ROOM


async def test_a_few_bytes_do_not_wait_for_more(executor: ThreadPoolExecutor) -> None:
    """A short log, or a client that thinks between two bytes: they are written soon all the same."""
    disk = Disk()
    disk.free.set()
    ours, _ = feed(disk, executor)
    ours.push(b"few")
    async with asyncio.timeout(10):
        while not disk.taken:  # noqa: ASYNC110  # another thread's list
            await asyncio.sleep(0.01)
    await ours.finish()


async def test_a_full_disk_is_known_at_once_and_takes_nothing_more(executor: ThreadPoolExecutor) -> None:
    """The reason is there while the client still sends; what follows is dropped, not kept in memory."""
    disk = Disk()
    disk.free.set()
    disk.room = BATCH // 2
    ours, _ = feed(disk, executor)
    ours.push(bytes(BATCH))
    broken = await asyncio.wait_for(ours.broken, 10)
    assert (broken.errno, str(broken)) == (28, "No space left on device")
    for _ in range(10):
        ours.push(bytes(BATCH))
    await ours.finish()
    assert len(disk.taken) == BATCH


class Channel:
    """What Input needs of asyncssh's."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pause_reading(self) -> None:
        self.said.append("pause")

    def resume_reading(self) -> None:
        self.said.append("resume")


async def test_input_that_nobody_reads_is_held_back() -> None:
    """`mkdir` reads nothing: a client that pipes its memory into it waits for the answer."""
    channel = Channel()
    source = Input(cast(Any, channel))
    for _ in range(HELD // 65536 + 5):
        source.put(bytes(65536))
    assert channel.said == ["pause"]
    source.end()
    got = 0
    while data := await source.next():
        got += len(data)
    assert got == HELD + 5 * 65536
    assert channel.said == ["pause", "resume"]


async def test_pouring_goes_on_where_reading_stopped() -> None:
    """What waited comes first, what follows comes as it arrives, and a stop ends it."""
    source = Input(cast(Any, Channel()))
    source.put(b"one ")
    got: list[bytes | memoryview] = []
    stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pouring = asyncio.ensure_future(source.pour(got.append, stop))
    await asyncio.sleep(0)
    source.put(b"two")
    stop.set_result(None)
    await asyncio.wait_for(pouring, 10)
    assert b"".join(got) == b"one two"
    assert source.lost is None
    source.end("connection lost")
    source.end()
    assert source.lost == "connection lost"
