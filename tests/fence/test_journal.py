"""fence.store and fence.journal: every event durable, in order, by its id; no disk holds an answer up."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fence import journal as module
from fence.cloud import Stored, cloud_event
from fence.events import Alarm, DaemonReloaded, DaemonStarted, Decision, Event, Grade, State
from fence.ground import StateError, open_store
from fence.journal import Journal
from fence.store import Store
from tests.rig.fence import eventually


def alarm(reason: str, node: str = "n1") -> Event:
    return Alarm(node=node, alarm="replay", reason=reason)


def stored(number: int, node: str = "n1", at: float = 0.0) -> Stored:
    return Stored(number, at, "alarm", node, f'{{"number":{number}}}')


def reasons(events: list[Stored]) -> list[str]:
    return [json.loads(event.data)["reason"] for event in events]


@asynccontextmanager
async def running(path: Path, wall: Callable[[], float] = time.time, **limits: Any) -> AsyncIterator[Journal]:
    keep = {"keep_seconds": 1e9, "max_bytes": 1 << 30} | limits
    made = Journal(Store(path), wall, **keep)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_what_is_recorded_is_told_with_its_id_and_survives(tmp_path: Path) -> None:
    """Ids grow by one, over restarts, too."""
    path = tmp_path / "journal.sqlite"
    async with running(path) as journal:
        journal.record([alarm("a"), DaemonStarted(version="1", nodes=0, clean=True)])
        journal.record([alarm("b", "n2")])
        await journal.news(2)
        assert [event.id for event in await journal.since(0, 10)] == [1, 2, 3]
        assert reasons(await journal.since(0, 10, "n2")) == ["b"]
    async with running(path) as journal:
        assert journal.last == 3
        journal.record([alarm("c")])
        await journal.news(3)
        assert reasons(await journal.since(2, 10)) == ["b", "c"]
        assert reasons(await journal.since(0, 1)) == ["a"]


async def test_events_are_on_the_disk_when_they_are_told(tmp_path: Path) -> None:
    """Who saw an event can ask for what comes after it, even after a kill."""
    path = tmp_path / "journal.sqlite"
    async with running(path) as journal:
        journal.record([alarm("a")])
        await journal.news(0)
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT count(*) FROM events").fetchone() == (1,)
        other.close()


async def test_who_follows_gets_every_event_once_and_in_order(tmp_path: Path) -> None:
    """Many writers, a slow reader: the memory holds less than there is, the file has the rest."""
    async with running(tmp_path / "journal.sqlite") as journal:
        for number in range(module.RECENT + 500):
            journal.record([alarm(str(number))])
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
        seen: list[str] = []
        last = 0
        with trio.fail_after(20):
            while len(seen) < module.RECENT + 500:
                await journal.news(last)
                page = await journal.since(last, 300)
                seen += reasons(page)
                last = page[-1].id
        assert seen == [str(number) for number in range(module.RECENT + 500)]


async def test_an_id_of_a_journal_that_is_gone_replays_all(tmp_path: Path) -> None:
    """Rather twice than never."""
    async with running(tmp_path / "journal.sqlite") as journal:
        journal.record([alarm("a")])
        await journal.news(0)
        assert reasons(await journal.since(999, 10)) == ["a"]


async def test_what_is_kept_of_nodes_and_consumers_survives(tmp_path: Path) -> None:
    """The last word on each."""
    path = tmp_path / "journal.sqlite"
    async with running(path) as journal:
        journal.keep("n1", "boot", "one")
        journal.keep("n1", "boot", "two")
        journal.keep("n2", "boot", "x")
        journal.advance("webhook ops", 7)
        assert await journal.flush()
    store = Store(path)
    assert store.standing() == {"n1": ("boot", "two"), "n2": ("boot", "x")}
    assert store.consumers() == {"webhook ops": 7}
    store.close()


async def test_what_was_given_just_before_the_end_is_written(tmp_path: Path) -> None:
    """SIGTERM loses nothing."""
    path = tmp_path / "journal.sqlite"
    async with running(path) as journal:
        journal.record([alarm("last words")])
        journal.keep("n1", "boot", "line")
    store = Store(path)
    assert reasons(store.read(0, 10)) == ["last words"]
    assert store.standing()["n1"] == ("boot", "line")
    store.close()


async def test_a_disk_that_takes_nothing_is_a_problem_and_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are told from memory, and written when the disk does again."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    path = tmp_path / "journal.sqlite"
    write, full = Store.write, [True]

    def failing(store: Store, *parts: Any) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        write(store, *parts)

    monkeypatch.setattr(Store, "write", failing)
    async with running(path) as journal:
        journal.record([alarm("a")])
        journal.keep("n1", "boot", "line")
        journal.advance("webhook ops", 7)
        with trio.fail_after(5):
            await journal.news(0)
        assert reasons(await journal.since(0, 10)) == ["a"]
        assert not await journal.flush()
        assert journal.problem == f"{path} cannot be written: database or disk is full"
        full.clear()
        assert await journal.flush()
        assert journal.problem is None
    store = Store(path)
    assert reasons(store.read(0, 10)) == ["a"]
    assert (store.standing(), store.consumers()) == ({"n1": ("boot", "line")}, {"webhook ops": 7})
    store.close()


async def test_a_disk_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the stream nor an `alive`: it is told that it is not durable."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    write, hanging = Store.write, threading.Event()

    def slow(store: Store, *parts: Any) -> None:
        hanging.wait(10)
        write(store, *parts)

    monkeypatch.setattr(Store, "write", slow)
    async with running(tmp_path / "journal.sqlite") as journal:
        journal.record([alarm("a")])
        with trio.fail_after(5):
            await journal.news(0)
            assert not await journal.flush(patience=0.05)
        hanging.set()
        assert await journal.flush()


async def test_what_waits_for_a_dead_disk_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest events are given up, and counted."""
    monkeypatch.setattr(module, "UNWRITTEN_MAX", 10)

    def full(store: Store, *parts: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", full)
        async with running(tmp_path / "journal.sqlite") as journal:
            for number in range(25):
                journal.record([alarm(str(number))])
            await journal.news(24)
            assert journal.lost == 15
            broken.undo()


async def test_a_file_that_cannot_be_read_is_a_problem_and_memory_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known is shown."""
    monkeypatch.setattr(module, "RECENT", 2)
    async with running(tmp_path / "journal.sqlite") as journal:
        journal.record([alarm(str(number)) for number in range(3)])
        await journal.news(2)

        def damaged(store: Store, *parts: Any) -> list[Stored]:
            raise sqlite3.DatabaseError("database disk image is malformed")

        monkeypatch.setattr(Store, "read", damaged)
        assert reasons(await journal.since(0, 10)) == ["1", "2"]
        assert "cannot be read: database disk image is malformed" in (journal.problem or "")


async def test_the_journal_is_bounded_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old events go by themselves."""
    monkeypatch.setattr(module, "PRUNE_SECONDS", 0.02)
    wall = [1000.0]
    async with running(tmp_path / "journal.sqlite", lambda: wall[0], keep_seconds=100) as journal:
        journal.record([alarm("old")])
        await journal.news(0)
        wall[0] = 1050
        journal.record([alarm("new")])
        await journal.news(1)
        wall[0] = 1120
        with sqlite3.connect(tmp_path / "journal.sqlite") as other:
            await eventually(lambda: other.execute("SELECT id FROM events").fetchall() == [(2,)])
        other.close()


def test_the_journal_is_bounded_by_size(tmp_path: Path) -> None:
    """The oldest tenth goes, again and again, and the file shrinks."""
    store = Store(tmp_path / "journal.sqlite")
    store.write([Stored(number, 0.0, "alarm", "n1", "x" * 1000) for number in range(1, 3001)])
    before = Path(f"{store.path}-wal").stat().st_size
    assert store.prune(0, 1 << 20) == 300
    for _ in range(30):
        store.prune(0, 1 << 20)
    first, *_, last = store.read(0, 10_000)
    assert first.id > 1000
    assert last.id == 3000
    store.close()
    assert store.path.stat().st_size < before * 0.6
    again = Store(store.path)
    assert again.last_id() == 3000
    again.prune(1e12, 1 << 30)
    assert again.read(0, 10) == []
    assert again.last_id() == 3000
    again.close()


def test_a_write_is_all_or_nothing(tmp_path: Path) -> None:
    """An id twice: nothing of the batch is there, and the next one goes through."""
    store = Store(tmp_path / "journal.sqlite")
    store.write([stored(1)])
    with pytest.raises(sqlite3.IntegrityError):
        store.write([stored(2), stored(1)], [("n1", "c", "l")])
    assert (store.last_kind(), store.standing()) == ("alarm", {})
    store.write([stored(2)])
    assert [event.id for event in store.read(0, 10)] == [1, 2]
    store.close()


def test_what_no_boot_and_no_settings_know_is_forgotten(tmp_path: Path) -> None:
    """Names that were only asked for do not pile up for ever."""
    store = Store(tmp_path / "journal.sqlite")
    rows = [("n1", "old", "a"), ("asked", "old", "b"), ("asked2", "this", "c")]
    store.write([], rows)
    store.forget({"n1"}, "this")
    assert set(store.standing()) == {"n1", "asked2"}
    store.close()


@pytest.mark.parametrize(
    "damage",
    [b"not a database at all, but long enough to look at" * 100, b"SQLite format 3\0" + b"\xff" * 5000],
)
def test_a_damaged_journal_is_put_aside_and_said(tmp_path: Path, damage: bytes) -> None:
    """Better a daemon without memory than none in a crash."""
    path = tmp_path / "journal.sqlite"
    path.write_bytes(damage)
    store, notice = open_store(path)
    assert store.last_id() == 0
    assert notice == f"the journal was damaged and is now {path}.damaged; a new one was begun"
    assert Path(f"{path}.damaged").read_bytes() == damage
    store.close()
    store, notice = open_store(path)
    assert notice is None
    store.close()


def test_a_journal_of_a_newer_daemon_is_put_aside_too(tmp_path: Path) -> None:
    """A downgrade: its layout is not ours."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    store, notice = open_store(path)
    assert notice is not None
    store.close()


def test_a_journal_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """The operator must act."""
    with pytest.raises(StateError, match="unable to open database file"):
        open_store(tmp_path / "gone" / "journal.sqlite")


def test_an_event_is_a_cloud_event() -> None:
    """CloudEvents 1.0: required attributes, our extension-free data, one line."""
    event = json.loads(
        cloud_event(Stored(42, 1_700_000_000.1234, "node.dumping", 'n"1', '{"a":1}'), "/kdump-fence/h")
    )
    assert event == {
        "specversion": "1.0",
        "id": "42",
        "source": "/kdump-fence/h",
        "type": "kdump-net.fence.node.dumping",
        "subject": 'n"1',
        "time": "2023-11-14T22:13:20.123Z",
        "datacontenttype": "application/json",
        "data": {"a": 1},
    }
    assert "subject" not in json.loads(cloud_event(Stored(1, 0, "daemon.started", None, "{}"), "/x"))


async def test_all_kinds_of_events_have_data(tmp_path: Path) -> None:
    """Grades and states by name, lists as lists, nothing that is not there."""
    decision = Decision(
        node="n1",
        off=True,
        grade=Grade.UDP_CHECKED,
        policy=Grade.UDP,
        reason="r",
        state=State.DUMPING,
        beats=1,
        age_seconds=2.12345,
        waited_seconds=0.0,
        asked_by="root",
    )
    async with running(tmp_path / "journal.sqlite") as journal:
        journal.record([decision, DaemonReloaded(nodes=1, added=("n1",))])
        await journal.news(1)
        one, two = (json.loads(event.data) for event in await journal.since(0, 10))
    assert (one["grade"], one["state"], one["off"], one["age_seconds"]) == (
        "udp-checked",
        "dumping",
        True,
        2.123,
    )
    assert two == {"nodes": 1, "added": ["n1"], "removed": [], "changed": []}
