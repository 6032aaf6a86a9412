"""The journal, on SQLite and on a real PostgreSQL: in order, bounded, no stored dump without its event."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from receiver.catalogue import journal as journals
from receiver.catalogue.journal import Journal
from receiver.catalogue.store import Catalogue
from receiver.events import HostKeyChanged, KeyEnrolled, Later, UploadStarted
from receiver.spool.manifest import Manifest
from receiver.stores import catch_up, enlist, mend
from tests.builders import uploads

NOW = 1_700_000_000.0


def enrolled(number: int) -> KeyEnrolled:
    return KeyEnrolled(host=f"web{number:02}", peer="192.0.2.7", token="t1", detail="ed25519")


def names(journal: Journal) -> list[str]:
    return [entry.name for entry in journal.after(0)]


def test_entries_come_back_as_the_events_that_were_told(catalogue: Catalogue) -> None:
    """Numbered, with time, host and dump; read from any id on, by name, by host."""
    journal = catalogue.journal
    assert journal.last_id() == 0
    told = [enrolled(1), HostKeyChanged("ed25519", "a", "b"), enrolled(2)]
    journal.append(told, NOW)
    entries = journal.after(0)
    assert [entry.event for entry in entries] == told
    assert [entry.host for entry in entries] == ["web01", None, "web02"]
    assert entries[0].time == "2023-11-14T22:13:20.000Z"
    assert journal.last_id() == entries[-1].id
    assert journal.after(entries[0].id) == entries[1:]
    assert journal.after(0, 1) == entries[:1]
    assert journal.after(0, names=["key.enrolled"]) == [entries[0], entries[2]]
    assert journal.after(0, host="web02") == [entries[2]]
    assert journal.newest(2) == entries[1:]


def test_what_a_later_version_wrote_survives(catalogue: Catalogue) -> None:
    """After a downgrade: an unknown name, and a known one with other fields, are read as they are."""
    journal = catalogue.journal
    told = [Later("moon.rose", {"host": "web01", "phase": 3}), Later("key.enrolled", {"who": "web01"})]
    journal.append(told, NOW)
    assert [entry.event for entry in journal.after(0)] == told
    assert journal.after(0)[0].host == "web01"


def test_strangers_words_fit_any_database(catalogue: Catalogue) -> None:
    """NULs, over-long texts and lone surrogates are kept, cut, or escaped; none is refused."""
    started = UploadStarted("h" * 5000, "p", "d\0\udcff", "\x1b[31m" * 5000, "dd")
    catalogue.journal.append([started], NOW)
    (entry,) = catalogue.journal.after(0)
    assert entry.fields["directory"] == "d\0\udcff"
    assert len(entry.fields["file"]) == 1000
    assert entry.host == "h" * 128


def test_no_reader_misses_an_entry_that_is_committed_late(catalogue: Catalogue, url: str) -> None:
    """Many write at once while one reads on from the last id it saw: it sees every entry, in order."""
    journal = catalogue.journal
    written, each = 4, 25

    def write(number: int) -> None:
        for _ in range(each):
            while True:
                with suppress(OperationalError):  # SQLite is not fair, and gives up after some seconds
                    journal.append([enrolled(number)])
                    break

    threads = [threading.Thread(target=write, args=(number,)) for number in range(written)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while len(seen) < written * each:
        alive = any(thread.is_alive() for thread in threads)
        fresh = [entry.id for entry in journal.after(seen[-1] if seen else 0)]
        seen += fresh
        if not alive and not fresh:
            break
    for thread in threads:
        thread.join()
    assert len(seen) == written * each
    assert seen == sorted(seen)


def test_a_number_is_drawn_only_by_whose_turn_it_is(catalogue: Catalogue) -> None:
    """While one transaction that has a number is open, another one cannot commit a greater one."""
    done = threading.Event()

    def other() -> None:
        catalogue.journal.append([enrolled(2)])
        done.set()

    thread = threading.Thread(target=other)
    with catalogue.engine.begin() as connection:
        journals.take_turn(connection)
        journals.write(connection, [enrolled(1)], NOW)
        thread.start()
        assert not done.wait(0.3)
    thread.join()
    assert [entry.host for entry in catalogue.journal.after(0)] == ["web01", "web02"]


def test_the_journal_is_bounded_by_count_and_age_and_never_reuses_an_id(catalogue: Catalogue) -> None:
    """Else a page's Last-Event-ID would skip what came after."""
    journal = catalogue.journal
    for day in range(5):
        journal.append([enrolled(day)], NOW + day * 86_400)
    last = journal.last_id()
    assert journal.trim(3, 86_400 * 100, NOW + 5 * 86_400) == 2
    assert journal.trim(3, 86_400 * 1.5, NOW + 5 * 86_400) == 2
    assert [entry.id for entry in journal.after(0)] == [last]
    assert journal.trim(0, 1.0, NOW + 100 * 86_400) == 1
    journal.append([enrolled(9)], NOW)
    assert journal.last_id() == last + 1


def test_a_stored_file_a_report_and_a_new_group_are_told_once(catalogue: Catalogue, tmp_path: Path) -> None:
    """With the row itself; listing the dump again, or its hash that came later, tells nothing."""
    spool = uploads.spool_in(tmp_path)
    sent = uploads.Host(spool).send("/c/d/vmcore", b"hello\n").dump
    enlist(spool, catalogue, sent.directory)
    enlist(spool, catalogue, sent.directory)
    assert names(catalogue.journal) == ["upload.finished"]
    spool.write(replace(sent, crash_class="null-pointer", title="oops in f", signature="a" * 32))
    told = enlist(spool, catalogue, sent.directory)
    assert [event.name for event in told] == ["dump.reported", "group.new"]
    enlist(spool, catalogue, sent.directory)
    second = uploads.Host(spool, "web02").send("/c/e/vmcore", b"hello\n").dump
    spool.write(replace(second, crash_class="null-pointer", title="oops in f", signature="a" * 32))
    enlist(spool, catalogue, second.directory)
    assert names(catalogue.journal) == [
        *("upload.finished", "dump.reported", "group.new"),
        *("upload.finished", "dump.reported"),
    ]
    (finished, *_, last) = catalogue.journal.after(0)
    assert (finished.host, finished.dump, finished.fields["file"]) == ("web01", sent.id, "vmcore")
    assert last.fields["signature"] == "a" * 32


def test_two_dumps_of_a_new_group_at_once_make_one_new_group(catalogue: Catalogue) -> None:
    """Whoever comes second sees the first: a crash storm's beginning is one."""

    def dump(number: int) -> Manifest:
        return Manifest(
            id=f"{number:010x}", host="web01", how="key", peer="", client="unknown",
            directory=f"d{number}", requested="/c/d", date="2023-11-14T22:13:20Z",
            crash_class="panic", title="t", signature="b" * 32,
        )  # fmt: skip

    threads = [threading.Thread(target=catalogue.record, args=(dump(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(catalogue.journal)) == ["dump.reported"] * 6 + ["group.new"]


def test_regrouping_ten_thousand_dumps_is_no_news(catalogue: Catalogue, tmp_path: Path) -> None:
    """New rules for old logs; a file that came meanwhile is told of all the same."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    sent = host.send("/c/d/vmcore", b"hello\n").dump
    spool.write(replace(sent, crash_class="panic", title="t", signature="a" * 32))
    enlist(spool, catalogue, sent.directory, reports=False)
    assert names(catalogue.journal) == ["upload.finished"]


def test_a_kill_between_manifest_and_journal_loses_no_event(catalogue: Catalogue, tmp_path: Path) -> None:
    """The dump is marked as not listed: whoever lists it next tells of it, once."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    enlist(spool, catalogue, host.send("/c/d/README.txt", b"hello\n").dump.directory)
    host.send("/c/d/vmcore", b"hello\n")  # and here the process dies
    catch_up(spool, catalogue)
    catch_up(spool, catalogue)
    assert [entry.fields["file"] for entry in catalogue.journal.after(0)] == ["README.txt", "vmcore"]


def test_a_row_lost_to_a_power_cut_is_told_by_the_next_start(catalogue: Catalogue, tmp_path: Path) -> None:
    """The database may have lost its last commits, and the mark is gone: the start compares."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    enlist(spool, catalogue, host.send("/c/a/vmcore", b"hello\n").dump.directory)
    lost = host.send("/c/b/vmcore", b"hello\n").dump
    spool.caught_up(lost.directory)
    list(mend(spool, catalogue, uploads.NOW, lambda path, error: None))
    assert [entry.dump for entry in catalogue.journal.after(0)][1:] == [lost.id]


def test_a_catalogue_made_anew_announces_no_old_dump(catalogue: Catalogue, tmp_path: Path) -> None:
    """Ten thousand dumps of last year are no news; the one that nobody had listed is."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    for name in ("a", "b"):
        enlist(spool, catalogue, host.send(f"/c/{name}/vmcore", b"hello\n").dump.directory)
    fresh = host.send("/c/c/vmcore", b"hello\n").dump
    with catalogue.engine.begin() as connection:
        connection.execute(sa.text("delete from dumps"))
        connection.execute(sa.text("delete from events"))
    list(mend(spool, catalogue, uploads.NOW, lambda path, error: None, every_row=True))
    assert [entry.dump for entry in catalogue.journal.after(0)] == [fresh.id]


def test_rows_from_before_the_journal_are_no_news(tmp_path: Path) -> None:
    """An upgrade from the first revision: the tables are added, nothing is announced."""
    from alembic import command
    from alembic.config import Config

    import receiver.catalogue

    config = Config()
    config.set_main_option("script_location", str(Path(receiver.catalogue.__file__).parent / "migrations"))
    spool = uploads.spool_in(tmp_path)
    url = f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    sent = uploads.Host(spool).send("/c/a/vmcore", b"hello\n").dump
    catalogue = Catalogue(url, spool.state)
    enlist(spool, catalogue, sent.directory)
    with catalogue.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    catalogue.close()
    catalogue = Catalogue(url, spool.state)
    list(mend(spool, catalogue, uploads.NOW, lambda path, error: None))
    assert catalogue.journal.after(0) == []
    assert os.listdir(spool.root) == [sent.directory]
    catalogue.close()
