"""Removing a core: readers understand it, nothing comes back, and a kill at any step leaves the truth."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import reports
from receiver.catalogue.store import Catalogue, Query
from receiver.spool import manifest, pins, prune, usage
from receiver.spool.admission import Admission
from receiver.spool.clock import iso
from receiver.spool.dumps import Spool
from receiver.spool.retention import Act, Choice, Dump
from receiver.spool.space import Limits
from receiver.stores import catch_up, enlist, mend
from receiver.wire.paths import parse_untrusted
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump

LATER = uploads.NOW + 86_400
PAGES = {number: bytes([number % 251 + 1]) * 4096 for number in range(24)}
IMAGE = flattened.image(flattened.stream(Kdump(PAGES, compression="none").writes()))
LOG = b"[    0.000000] Linux version 6.1.0-test\n[    1.0] Kernel panic - not syncing: test\n"


def filled(base: Path) -> tuple[Spool, uploads.Host]:
    """A dump with a core, an older attempt at it, and a log."""
    spool = uploads.spool_in(base)
    host = uploads.Host(spool)
    host.send("/c/h-1/vmcore-dmesg.txt", LOG)
    host.send("/c/h-1/vmcore", IMAGE[:70_000], broken="the connection was lost")
    host.send("/c/h-1/vmcore", IMAGE)
    return spool, host


def chosen(spool: Spool, act: Act = "drop core", directory: str = "h-1") -> Choice:
    path = spool.root / directory
    return Choice(usage.row(path, manifest.load(path)), act, "the test says so")


def drop(spool: Spool, act: Act = "drop core") -> prune.Dropped | None:
    return prune.carry_out(spool, chosen(spool, act), iso(LATER), "ann")


def test_the_cores_go_and_what_was_known_of_them_stays(tmp_path: Path) -> None:
    spool, _ = filled(tmp_path)
    before = manifest.load(spool.root / "h-1")
    dropped = drop(spool)
    assert dropped is not None
    assert dropped.bytes >= len(IMAGE)
    dump = manifest.load(spool.root / "h-1")
    assert {file.name for file in dump.files} == {"vmcore-dmesg.txt"}
    assert {path.name for path in (spool.root / "h-1").iterdir()} == {"vmcore-dmesg.txt", "manifest.json"}
    assert {gone.file.name for gone in dump.removed} == {"vmcore", "vmcore.incomplete"}
    assert not any(gone.pending for gone in dump.removed)
    (whole,) = [gone for gone in dump.removed if gone.file.name == "vmcore"]
    assert whole.file.sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert (whole.by, whole.why) == ("ann", "the test says so")
    assert (dump.verdict, dump.reason) == (before.verdict, before.reason)
    assert dump.history[-1].what == "core removed"
    assert drop(spool) is None


def test_a_pinned_a_receiving_and_another_dump_are_left_alone(tmp_path: Path) -> None:
    """Whatever the plan was made from: it is looked at again while the dump is held."""
    spool, host = filled(tmp_path)
    choice = chosen(spool)
    pins.pin(spool, "h-1", iso(LATER), "ann", "for the vendor")
    assert prune.carry_out(spool, choice, iso(LATER), "x") is None
    assert manifest.load(spool.root / "h-1").pinned == manifest.Pin(iso(LATER), "ann", "for the vendor")
    pins.unpin(spool, "h-1", iso(LATER), "ann")
    upload = host.view.begin(parse_untrusted("/c/h-1/vmcore"), "dd")
    assert prune.carry_out(spool, choice, iso(LATER), "x") is None
    upload.write(IMAGE)
    upload.finish()
    other = replace(choice, dump=replace(choice.dump, id="another"))
    assert prune.carry_out(spool, other, iso(LATER), "x") is None
    assert len(manifest.load(spool.root / "h-1").files) == 4
    assert prune.carry_out(spool, choice, iso(LATER), "x") is not None


def test_a_start_takes_a_removed_core_for_what_it_is(tmp_path: Path) -> None:
    """mend, rebuild and a report written anew change nothing; the catalogue says the same."""
    spool, _ = filled(tmp_path)
    drop(spool)
    dump = manifest.load(spool.root / "h-1")
    with_catalogue(spool, lambda catalogue: list(mended(spool, catalogue)))
    assert manifest.load(spool.root / "h-1") == dump


def test_the_answer_outlives_the_core_it_was_read_from(tmp_path: Path) -> None:
    """`regroup` after the core went: the log that was kept says the same."""
    spool = uploads.spool_in(tmp_path)
    uploads.Host(spool).send("/c/h-1/vmcore", IMAGE)
    (spool.root / "h-1" / reports.LOG).write_bytes(LOG)
    drop(spool)
    before = manifest.load(spool.root / "h-1")
    after = reports.write(spool, "h-1", iso(LATER))
    assert after.title
    assert "panic" in after.title
    assert after.removed == before.removed
    assert (spool.root / "h-1" / reports.LOG).read_bytes() == LOG


def test_what_comes_after_the_core_went_is_stored_and_may_be_renamed(tmp_path: Path) -> None:
    """README.txt at the end leaves the verdict; a core sent again is the core again; `mv` of the gone one
    succeeds, since it was stored when its client was told so."""
    spool, host = filled(tmp_path)
    host.send("/c/h-2/vmcore-incomplete", IMAGE)
    prune.carry_out(spool, chosen(spool, directory="h-2"), iso(LATER), "x")
    assert host.move("/c/h-2/vmcore-incomplete", "/c/h-2/vmcore").verdict == "complete"
    dump = host.send("/c/h-2/README.txt", b"done\n").dump
    assert dump.verdict == "complete"
    dump = host.send("/c/h-2/vmcore", IMAGE[:80_000], broken="lost").dump
    assert dump.verdict == "truncated"
    assert len(dump.removed) == 1


def test_a_file_that_an_operator_put_back_is_not_removed_again(tmp_path: Path) -> None:
    """Only the very file that the manifest speaks of goes: another inode is another file."""
    spool, _ = filled(tmp_path)
    path = spool.root / "h-1"
    dump = manifest.load(path)
    core = next(file for file in dump.files if file.name == "vmcore")
    (path / "new").write_bytes(IMAGE)
    (path / "new").rename(path / "vmcore")
    gone = manifest.Removed(core, iso(LATER), "x", "y", pending=True)
    left = tuple(file for file in dump.files if file is not core)
    spool.write(replace(dump, files=left, removed=(gone,)))
    with_catalogue(spool, lambda catalogue: list(mended(spool, catalogue)))
    assert (path / "vmcore").read_bytes() == IMAGE
    assert not manifest.load(path).removed[0].pending
    assert any(file.name == "vmcore" for file in manifest.load(path).files)


def test_a_whole_dump_goes_with_its_name(tmp_path: Path) -> None:
    """The path is free for the next crash; a dump that still holds a core stays."""
    spool, host = filled(tmp_path)
    assert drop(spool, "drop dump") is None
    drop(spool)
    with_catalogue(spool, lambda catalogue: enlist(spool, catalogue, "h-1"))
    assert drop(spool, "drop dump") is not None
    assert list(spool.directories()) == []
    assert list(spool.names("web01").directory.glob("dumps/*")) == []
    assert not any(path.name.startswith(prune.GONE) for path in spool.root.iterdir())
    assert spool.ledger.dumps() == []

    def forgotten(catalogue: Catalogue) -> None:
        catch_up(spool, catalogue)
        assert list(catalogue.find(Query())) == []

    with_catalogue(spool, forgotten)
    assert host.send("/c/h-1/vmcore", IMAGE).dump.directory == "h-1"


def with_catalogue(spool: Spool, work: Callable[[Catalogue], Any]) -> None:
    catalogue = Catalogue(f"sqlite:///{spool.state / 'catalogue.sqlite'}", spool.state)
    try:
        work(catalogue)
    finally:
        catalogue.close()


def mended(spool: Spool, catalogue: Catalogue) -> Iterator[object]:
    return mend(spool, catalogue, LATER, lambda path, error: pytest.fail(f"{path}: {error}"))


# kill -9 at every step.

CHANGING = ("rename", "unlink", "rmdir", "mkdir", "fsync", "open", "write")


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is killed before (odd) or after (even) its n-th change; whether it ended."""
    pid = os.fork()
    if pid == 0:
        status, count = 1, 0

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def instead(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if number == 2 * count - 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                try:
                    return call(*args, **kwargs)
                finally:
                    if number == 2 * count:
                        os.kill(os.getpid(), signal.SIGKILL)

            return instead

        try:
            for name in CHANGING:
                setattr(os, name, counted(getattr(os, name)))
            work()
            status = 0
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended in {0, -signal.SIGKILL}
    return ended == 0


@pytest.mark.parametrize(
    ("act", "states"), [("drop core", {"whole", "without core"}), ("drop dump", {"without core", "gone"})]
)
def test_a_kill_at_every_step_of_a_removal_leaves_the_truth(
    tmp_path: Path, act: Act, states: set[str]
) -> None:
    """Readers before the next start see a dump with or without core, or none; after it all is done."""
    number, seen = 0, set()
    ended = False
    base = tmp_path / "base"
    base.mkdir()
    template, _ = filled(base)
    if act == "drop dump":
        drop(template)
    with_catalogue(template, lambda catalogue: enlist(template, catalogue, "h-1"))
    while not ended:
        number += 1
        place = tmp_path / str(number)
        place.mkdir()
        os.system(f"cp -a {base}/spool {base}/state {place}/")
        spool = uploads.spool_in(place)
        with_catalogue(spool, lambda catalogue: list(mended(spool, catalogue)))  # noqa: B023  # new inodes
        ended = killed_at(number, lambda: drop(spool, act))  # noqa: B023
        try:
            seen.add(look_at(spool))
        except BaseException as error:
            error.add_note(f"killed at step {number}")
            raise
    assert seen == states
    assert number > 15


def look_at(spool: Spool) -> str:
    """What the next start makes of it; fails where anything is inconsistent."""

    def start(catalogue: Catalogue) -> None:
        catch_up(spool, catalogue)
        for dump in catalogue.find(Query()):
            assert manifest.load(spool.root / dump.directory) == dump
        list(mended(spool, catalogue))
        rows = {dump.directory: dump for dump in catalogue.find(Query())}
        true = {path.name: manifest.load(path) for path in spool.directories()}
        assert rows == true

    with_catalogue(spool, start)
    rows = {row.directory: row for row in spool.ledger.dumps()}
    assert rows == {row.directory: row for row in usage.rows(spool.directories())}
    left = {path.name for path in spool.root.iterdir()}
    assert left <= {"h-1"}, left
    if not left:
        return "gone"
    dump = manifest.load(spool.root / "h-1")
    names = {path.name for path in (spool.root / "h-1").iterdir()}
    assert names == {file.name for file in dump.files} | {manifest.NAME}
    assert not any(gone.pending for gone in dump.removed)
    assert dump.verdict == "complete"
    for file in dump.files:
        assert file.sha256 == hashlib.sha256((spool.root / "h-1" / file.name).read_bytes()).hexdigest()
    return "without core" if dump.removed else "whole"


def test_a_row_counts_what_the_disk_gave(tmp_path: Path) -> None:
    """Holes cost nothing; a large text counts as what goes with the core, a small one does not."""
    spool = uploads.spool_in(tmp_path)
    path = spool.root / "h-1"
    uploads.Host(spool).send("/c/h-1/vmcore", IMAGE)
    with (path / "vmcore").open("r+b") as core:
        core.truncate(1 << 30)
    row = usage.row(path, manifest.load(path))
    assert isinstance(row, Dump)
    assert len(IMAGE) <= row.core_bytes < 2 * len(IMAGE) + 65_536
    assert 0 < row.rest_bytes < 65_536
    dump = manifest.load(path)
    text = replace(dump.files[0], name="big.txt", kind="text", core=False, bytes=usage.LOG_MAX + 1)
    assert usage.is_bulk(text)
    assert not usage.is_bulk(replace(text, bytes=usage.LOG_MAX))


def test_admission_is_told_of_what_it_dropped(tmp_path: Path) -> None:
    spool, _ = filled(tmp_path)
    heard: list[prune.Dropped] = []
    admission = Admission(spool, Limits(keep_free=0), dropped=heard.append)
    assert admission.carry_out(chosen(spool)) == heard[0]
    assert admission.carry_out(chosen(spool)) is None
    assert len(heard) == 1
