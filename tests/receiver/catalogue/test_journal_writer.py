"""The writer: it never holds up who tells, and what it cannot write it counts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.catalogue import writer as writers
from receiver.catalogue.rate import BURST, TELL_SECONDS, Rate
from receiver.catalogue.store import Catalogue
from receiver.catalogue.writer import JournalWriter
from receiver.events import (
    Bus,
    CommandDone,
    Event,
    KeyEnrolled,
    LoginRefused,
    Trouble,
    UploadFinished,
    Withheld,
)

REFUSED = LoginRefused("192.0.2.7", "root", "key", "unknown")


def enrolled(number: int) -> KeyEnrolled:
    return KeyEnrolled(host=f"web{number:02}", peer="192.0.2.7", token="t1", detail="ed25519")


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def opened(tmp_path: Path) -> Catalogue:
    return Catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}", tmp_path / "state")


def test_what_is_notable_is_written_and_the_rest_is_not(opened: Catalogue) -> None:
    """A login or a `df` is a line in the log; a stored dump has its own way into the journal."""
    bus, told = Bus(), [enrolled(1), REFUSED]
    writer = JournalWriter(opened.journal, bus.tell, 100, 86_400)
    bus.subscribe(writer.hear)
    for event in (CommandDone("web01", "p", "df", 0), *told):
        bus.tell(event)
    bus.tell(UploadFinished("h", "p", "d", "d", "vmcore", 1, 1, 1.0, "elf", "complete", ""))
    writer.close()
    assert [entry.event for entry in opened.journal.after(0)] == told
    opened.close()


def test_a_flood_by_strangers_is_written_at_a_bounded_rate_and_summed_up(opened: Catalogue) -> None:
    """Ten thousand refused logins are some dozens of rows and one that counts the others."""
    writer = JournalWriter(opened.journal, lambda event: None, 100_000, 86_400)
    begun = time.monotonic()
    for _ in range(10_000):
        writer.hear(REFUSED)
    writer.hear(enrolled(1))
    assert time.monotonic() - begun < 5
    writer.close()
    events = [entry.event for entry in opened.journal.after(0, 10_000)]
    assert enrolled(1) in events
    refused = [event for event in events if event == REFUSED]
    (withheld,) = [event for event in events if isinstance(event, Withheld)]
    assert BURST <= len(refused) <= BURST + 6
    assert (withheld.what, withheld.count + len(refused)) == ("login.refused", 10_000)
    opened.close()


def test_the_rate_lets_through_a_burst_then_so_many_a_second() -> None:
    """And says, a minute later, how many it kept back: once."""
    rate = Rate()
    assert sum(rate.passes(REFUSED, 0.0) for _ in range(200)) == BURST
    assert rate.withheld(1.0) == []
    assert sum(rate.passes(REFUSED, 10.0) for _ in range(200)) == 10
    (told,) = rate.withheld(TELL_SECONDS)
    assert told.count == 400 - BURST - 10
    assert rate.withheld(TELL_SECONDS * 3) == []
    assert rate.passes(enrolled(1), 0.0)


def test_a_locked_database_delays_events_and_is_told_once(
    opened: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tells goes on; what waits is written when the lock is gone, what did not fit is counted."""
    monkeypatch.setattr(writers, "HELD", 50)
    monkeypatch.setattr(writers, "AGAIN_SECONDS", 0.05)
    with opened.engine.connect() as connection:  # so that the test need not wait for three seconds
        connection.exec_driver_sql("pragma busy_timeout=50")
        connection.commit()
    troubles: list[Event] = []
    blocker = sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)
    blocker.execute("begin immediate")
    writer = JournalWriter(opened.journal, troubles.append, 100_000, 86_400)
    begun = time.monotonic()
    for number in range(80):
        writer.hear(enrolled(number))
    assert time.monotonic() - begun < 1
    until(lambda: troubles)
    assert isinstance(troubles[0], Trouble)
    assert "locked" in troubles[0].reason
    blocker.execute("rollback")
    blocker.close()
    until(lambda: len(opened.journal.after(0)) >= 51)
    writer.close()
    events = [entry.event for entry in opened.journal.after(0)]
    assert [event for event in events if isinstance(event, KeyEnrolled)] == [enrolled(n) for n in range(50)]
    assert [event.count for event in events if isinstance(event, Withheld)] == [30]
    assert len(troubles) == 1
    opened.close()
