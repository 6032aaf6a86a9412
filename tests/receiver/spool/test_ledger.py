"""The ledger of use: its sums are those of its rows, whoever writes, and it can be lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from receiver.spool.dumps import Spool
from receiver.spool.ledger import ALL, Ledger, Reservation
from receiver.spool.retention import Dump
from receiver.spool.space import Use
from tests.builders import uploads

HOSTS = st.sampled_from(["web01", "web02", "db"])
NAMES = st.sampled_from(["a", "b", "c", "d"])
SIZES = st.integers(0, 1 << 40)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), NAMES, HOSTS, SIZES),
        st.tuples(st.just("forget"), NAMES, HOSTS, SIZES),
        st.tuples(st.just("reserve"), NAMES, HOSTS, SIZES),
        st.tuples(st.just("change"), NAMES, HOSTS, SIZES),
        st.tuples(st.just("release"), NAMES, HOSTS, SIZES),
    ),
    max_size=25,
)


def fresh(directory: Path, *dumps: Dump) -> Ledger:
    return Ledger(directory / "space.sqlite", lambda: dumps)


@given(acts=ACTS)
def test_the_sums_are_those_of_the_rows(
    tmp_path_factory: object, acts: list[tuple[str, str, str, int]]
) -> None:
    """Whatever is entered, replaced, promised and taken back, in any order."""
    ledger = fresh(tmp_path_factory.mktemp("ledger"))  # type: ignore[attr-defined]
    rows: dict[str, Dump] = {}
    promised: dict[str, Reservation] = {}
    with ledger.changing() as transaction:
        for act, name, host, size in acts:
            match act:
                case "enter":
                    rows[name] = Dump(name, name, host, "g", 1.0, True, 1, size, 7)
                    transaction.enter(rows[name])
                case "forget":
                    rows.pop(name, None)
                    transaction.forget(name)
                case "reserve" if name not in promised:
                    promised[name] = Reservation(name, host, None, size, 1.0)
                    transaction.reserve(promised[name])
                case "change" if name in promised:
                    old = promised[name]
                    promised[name] = Reservation(name, old.host, name, size, old.since)
                    transaction.change(name, bytes=size, directory=name)
                case "release":
                    promised.pop(name, None)
                    transaction.release(name)
    with ledger.changing() as transaction:
        for host in ("web01", "web02", "db", ALL):
            theirs = [row for row in rows.values() if host in {ALL, row.host}]
            coming = [one for one in promised.values() if host in {ALL, one.host}]
            whole = Use(sum(r.core_bytes + r.rest_bytes for r in theirs), sum(one.bytes for one in coming))
            assert transaction.use(host) == whole
            if host != ALL:
                assert transaction.count(host) == len(theirs)
        assert sorted(transaction.dumps(), key=str) == sorted(rows.values(), key=str)
        assert sorted(transaction.uploads(), key=str) == sorted(promised.values(), key=str)


def test_what_fails_inside_changes_nothing(tmp_path: Path) -> None:
    ledger = fresh(tmp_path)
    try:
        with ledger.changing() as transaction:
            transaction.enter(Dump("a", "a", "web01", None, 1.0, core_bytes=5, cores=1))
            raise KeyError
    except KeyError:
        pass
    assert ledger.dumps() == []


def test_a_killed_process_leaves_it_whole(tmp_path: Path) -> None:
    """SIGKILL in the middle of a change: the next one finds what was before."""
    ledger = fresh(tmp_path, Dump("a", "a", "web01", None, 1.0, core_bytes=5, cores=1))
    assert len(ledger.dumps()) == 1
    pid = os.fork()
    if pid == 0:
        with ledger.changing() as transaction:
            for number in range(5000):  # beyond what SQLite keeps in memory
                transaction.enter(Dump(f"{number}" * 20, f"{number}", "web02", None, 1.0))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    ledger.mend()
    assert [dump.directory for dump in ledger.dumps()] == ["a"]


def test_one_that_is_lost_or_broken_is_made_anew_from_the_spool(tmp_path: Path) -> None:
    """While the server runs, too: no upload waits for somebody to mend it."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    host.send("/c/h-1/README.txt", b"hello\n")
    for damage in (b"", b"SQLite format 3\0" + b"x" * 5000, b"no database at all" * 100):
        spool.ledger.path.write_bytes(damage)
        assert [dump.directory for dump in Spool(spool.root, spool.state).ledger.dumps()] == ["h-1"]
    spool.ledger.path.unlink()
    assert host.send("/c/h-2/README.txt", b"hello\n").dump.directory == "h-2"
    assert {dump.directory for dump in spool.ledger.dumps()} == {"h-1", "h-2"}


def test_pages_that_are_broken_inside_are_found_by_the_next_start(tmp_path: Path) -> None:
    dumps = tuple(Dump(f"{n}", f"directory-{n}", "web01", None, 1.0) for n in range(2000))
    ledger = fresh(tmp_path, *dumps)
    assert len(ledger.dumps()) == 2000
    with ledger.path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    ledger.mend()
    assert len(ledger.dumps()) == 2000
