"""The catalogue, on SQLite and on a real PostgreSQL: the same claims of both."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import receiver.catalogue
from receiver.catalogue.store import HEAD, Catalogue, CatalogueError, Query
from receiver.spool import manifest
from receiver.spool.manifest import Manifest
from receiver.stores import catch_up, enlist, mend
from tests.builders import uploads


def dump(number: int, **changes: str | None) -> Manifest:
    made = Manifest(
        id=f"{number:010x}",
        host="web01",
        how="key",
        peer="192.0.2.7",
        client="unknown",
        directory=f"d{number}",
        requested=f"/c/d{number}",
        date=f"2023-11-14T22:13:{number:02}Z",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def ids(catalogue: Catalogue, query: Query) -> list[int]:
    return [int(found.id, 16) for found in catalogue.find(query)]


def test_dumps_are_found_by_what_one_asks_for(catalogue: Catalogue) -> None:
    """Newest first; every part of a query narrows."""
    for number in range(5):
        verdict = "complete" if number else "truncated"
        catalogue.record(dump(number, host=f"web0{number % 2}", verdict=verdict))
    assert ids(catalogue, Query()) == [4, 3, 2, 1, 0]
    assert ids(catalogue, Query(most=2)) == [4, 3]
    assert ids(catalogue, Query(host="web01")) == [3, 1]
    assert ids(catalogue, Query(since="2023-11-14T22:13:03Z")) == [4, 3]
    assert ids(catalogue, Query(verdict="truncated")) == [0]
    assert ids(catalogue, Query(id="000000000")) == [4, 3, 2, 1, 0]
    assert ids(catalogue, Query(id="d3")) == [3]
    for wild in ("%", "_", "0_", "\\", "'"):
        assert ids(catalogue, Query(id=wild)) == []


def test_a_whole_name_comes_before_what_only_begins_so(catalogue: Catalogue) -> None:
    """A directory may be called like the beginning of many ids."""
    for number in range(5):
        catalogue.record(dump(number))
    catalogue.record(dump(0xAB, directory="0000", date="2000-01-01T00:00:00Z"))
    assert ids(catalogue, Query(id="0000", most=1)) == [0xAB]


def test_a_row_is_replaced_by_id_and_by_directory(catalogue: Catalogue) -> None:
    """A manifest that was made anew has another id; a moved directory keeps it."""
    catalogue.record(dump(1))
    catalogue.record(dump(1, verdict="complete"))
    catalogue.record(dump(2, directory="d1"))
    catalogue.record(dump(2, directory="elsewhere"))
    assert [(found.id, found.directory) for found in catalogue.find(Query())] == [("0000000002", "elsewhere")]
    catalogue.forget(["elsewhere"])
    assert ids(catalogue, Query()) == []


def test_what_a_dump_says_of_itself_may_be_anything(catalogue: Catalogue) -> None:
    """Over-long and with NULs: it is listed, and its manifest is as it was."""
    hostile = dump(1, kernel_release="6.1\0" + "x" * 5000, build_id="f" * 500, title="\0\x1b[31m")
    catalogue.record(hostile)
    assert list(catalogue.find(Query())) == [hostile]


def test_an_index_that_is_behind_catches_up(catalogue: Catalogue, tmp_path: Path) -> None:
    """A process killed between manifest and row leaves a mark; whoever lists next follows it."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    first = host.send("/c/d/README.txt", b"hello\n").dump
    assert spool.behind() == [first.directory]
    catch_up(spool, catalogue)
    assert list(catalogue.find(Query())) == [first]
    assert spool.behind() == []
    second = host.send("/c/d/more.txt", b"hello\n").dump
    catch_up(spool, catalogue)
    assert list(catalogue.find(Query())) == [second]


def test_an_older_row_never_replaces_a_newer_one(catalogue: Catalogue, tmp_path: Path) -> None:
    """Two processes finish files of one dump: whoever lists last lists the manifest as it is."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    first = host.send("/c/d/README.txt", b"hello\n").dump
    second = host.send("/c/d/more.txt", b"hello\n").dump
    enlist(spool, catalogue, second.directory)
    enlist(spool, catalogue, first.directory)
    assert list(catalogue.find(Query())) == [second]


def test_rows_of_directories_that_an_operator_removed_go(catalogue: Catalogue, tmp_path: Path) -> None:
    """`rm -r` of an old dump is a way to remove it."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    for name in ("a", "b"):
        enlist(spool, catalogue, host.send(f"/c/{name}/README.txt", b"hello\n").dump.directory)
    shutil.rmtree(spool.root / "a")
    found = list(mend(spool, catalogue, uploads.NOW, lambda path, error: pytest.fail(f"{path}: {error}")))
    assert [one.dump.directory for one in found] == ["b"]
    assert [row.directory for row in catalogue.find(Query())] == ["b"]
    assert manifest.load(spool.root / "b") in list(catalogue.find(Query()))


def test_many_processes_may_migrate_and_record_at_once(url: str, tmp_path: Path) -> None:
    """As workers do that start on an empty database, on one machine or, with PostgreSQL, on several."""
    pids = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                place = tmp_path / ("state" if url.startswith("sqlite") else f"state{number}")
                opened = Catalogue(url, place)
                for step in range(10):
                    opened.record(dump(number * 100 + step, date="2023-11-14T22:13:20Z"))
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
    opened = Catalogue(url, tmp_path / "state")
    assert len(ids(opened, Query())) == 40
    opened.close()


def test_the_revision_we_know_is_the_newest_migration() -> None:
    """Or a start would not load alembic when it must."""
    folder = Path(receiver.catalogue.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("nonsense", "postgresql://USER@HOST/DATABASE"),
        ("mysql://x/y", "sqlite or postgresql"),
        ("sqlite:////nonexistent/directory/file", "unable to open database file"),
        ("postgresql://kdump:secret@127.0.0.1:1/x", "refused"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_one_sentence(tmp_path: Path, bad: str, says: str) -> None:
    """What, where, what to do; and no password in it."""
    with pytest.raises(CatalogueError, match=says) as raised:
        Catalogue(bad, tmp_path)
    assert "secret" not in str(raised.value)
