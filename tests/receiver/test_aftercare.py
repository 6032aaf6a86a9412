"""What happens to a stored dump when its client has gone: in time, in order, and without harm to others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import aftercare, reports
from receiver.aftercare import Aftercare
from receiver.events import Bus, Event, Reported, Trouble
from receiver.settings import Settings
from receiver.spool import manifest
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest, StoredFile
from receiver.triage import overrides
from tests.builders import uploads

LOG = b"[    1.000000] Kernel panic - not syncing: sysrq triggered crash\n"


class Heard:
    """What was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.recorded: list[Manifest] = []
        self._news = threading.Condition()

    def event(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def record(self, dump: Manifest) -> None:
        with self._news:
            self.recorded.append(dump)
            self._news.notify_all()

    def wait(self, count: int, kind: type[Event]) -> list[Event]:
        with self._news:
            assert self._news.wait_for(lambda: len(self.of(kind)) >= count, 30), self.events
            return self.of(kind)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def caring(spool: Spool, heard: Heard, *, analyses: bool = False) -> Iterator[Aftercare]:
    bus = Bus()
    bus.subscribe(heard.event)
    care = Aftercare(spool, Settings(root=spool.root), overrides.NONE, bus, heard.record, analyses=analyses)
    try:
        yield care
    finally:
        care.end()


def stored(spool: Spool, name: str) -> tuple[str, StoredFile]:
    """A log that waits for its report and (as if it were large) for its hash."""
    sent = uploads.Host(spool).send(f"/c/{name}/vmcore-dmesg.txt", LOG)
    return sent.dump.directory, sent.file


def test_a_report_does_not_wait_for_the_hash_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred gigabytes take minutes to hash; why the next host crashed is known before that."""
    go = threading.Event()

    def slow(spool: Spool, directory: str, name: str, stop: object) -> Manifest:
        assert go.wait(30)
        return manifest.load(spool.root / directory)

    monkeypatch.setattr(aftercare, "with_digest", slow)
    spool, heard = uploads.spool_in(tmp_path), Heard()
    with caring(spool, heard) as care:
        for name in ("a", "b", "c"):
            directory, file = stored(spool, name)
            care.take(directory, unhashed(file))
        heard.wait(3, Reported)
        go.set()
    assert heard.of(Trouble) == []


def unhashed(file: StoredFile) -> StoredFile:
    return replace(file, sha256=None)


def test_what_came_now_is_reported_before_what_a_start_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long outage thousands may wait; the crash of this minute does not queue behind them."""
    go = threading.Event()
    real = reports.write

    def gated(*arguments: Any) -> Manifest:
        assert go.wait(30)
        return real(*arguments)

    monkeypatch.setattr(reports, "write", gated)
    spool, heard = uploads.spool_in(tmp_path), Heard()
    made = {name: stored(spool, name) for name in ("first", "old1", "old2", "fresh")}
    with caring(spool, heard) as care:
        care.take(*made["first"])
        for name in ("old1", "old2"):
            care.take(*made[name], old=True)
        care.take(*made["fresh"])
        go.set()
        heard.wait(4, Reported)
    dumps = {manifest.load(spool.root / made[name][0]).id: name for name in made}
    order = [dumps[event.dump] for event in heard.of(Reported) if isinstance(event, Reported)]
    assert order in (["first", "fresh", "old1", "old2"], ["fresh", "first", "old1", "old2"])


def test_a_dump_that_cannot_be_read_is_told_and_stops_no_other(tmp_path: Path) -> None:
    """An operator took the directory away in the meantime."""
    spool, heard = uploads.spool_in(tmp_path), Heard()
    directory, file = stored(spool, "kept")
    with caring(spool, heard) as care:
        care.take("gone", file)
        care.take(directory, file)
        heard.wait(1, Reported)
    (trouble,) = heard.of(Trouble)
    assert isinstance(trouble, Trouble)
    assert trouble.reason.startswith("gone/vmcore-dmesg.txt: ")


def test_the_end_leaves_what_has_not_begun(tmp_path: Path) -> None:
    """The next start finds it unfinished in the catalogue."""
    spool, heard = uploads.spool_in(tmp_path), Heard()
    with caring(spool, heard) as care:
        care.end()
        care.take(*stored(spool, "late"))
    assert heard.of(Reported) == []


def test_drgn_is_asked_of_dumps_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Junk under the name of a core would be a trouble in the log each time, and in every notification."""
    looked: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(reports, "analyse", lambda spool, directory, settings: looked.put(directory))
    spool, heard = uploads.spool_in(tmp_path), Heard()
    with caring(spool, heard, analyses=True) as care:
        for name, content in (
            ("junk", bytes(range(256)) * 40),
            ("dump", (data / "vmcore.flat").read_bytes()),
        ):
            sent = uploads.Host(spool).send(f"/c/{name}/vmcore", content)
            assert sent.file.core
            care.take(sent.dump.directory, sent.file)
        assert looked.get(timeout=60) == sent.dump.directory
