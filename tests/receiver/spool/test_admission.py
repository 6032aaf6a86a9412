"""No byte is promised twice, and what is refused is refused before it costs anything."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.spool import manifest, pins, summary
from receiver.spool.admission import CORE, ORPHAN_SECONDS, SMALL, Admission, NoRoom
from receiver.spool.clock import iso
from receiver.spool.dumps import Owner, Spool
from receiver.spool.prune import Dropped
from receiver.spool.retention import Policy
from receiver.spool.space import Limits, bytes_of
from receiver.spool.view import View
from receiver.spool.writer import Broken, Stored, Upload
from receiver.wire.paths import parse_untrusted
from tests.builders import uploads

MB = 1 << 20
RAW = b"\x01" * MB


class Site:
    """A spool with limits, several hosts, and what was dropped."""

    def __init__(self, base: Path, limits: Limits, policy: Policy | None = None) -> None:
        self.spool: Spool = uploads.spool_in(base)
        self.dropped: list[Dropped] = []
        self.clock = uploads.ticking()
        self.admission = Admission(self.spool, limits, policy, clock=self.clock, dropped=self.dropped.append)

    def view(self, host: str = "web01") -> View:
        return View(self.spool, Owner(host, "key", "192.0.2.7"), self.admission, self.clock)

    def begin(self, path: str, host: str = "web01", *, expected: int = 0) -> Upload:
        return self.view(host).begin(parse_untrusted(path), "dd", expected_bytes=expected)

    def send(self, path: str, megabytes: int, host: str = "web01", *, expected: int = 0) -> Stored:
        upload = self.begin(path, host, expected=expected)
        pour(upload, megabytes)
        return upload.finish()

    def use(self, host: str = "") -> int:
        with self.spool.ledger.changing() as transaction:
            return transaction.use(host).whole


def pour(upload: Upload, megabytes: int) -> None:
    """As the wire brings them, one after the other."""
    for _ in range(megabytes):
        upload.write(RAW)


def limits(**more: object) -> Limits:
    return replace(Limits(keep_free=0), **more)  # type: ignore[arg-type]


def test_a_quota_holds_for_its_host_alone(tmp_path: Path) -> None:
    """EDQUOT for the one, room for the others; a host of its own quota has that."""
    site = Site(tmp_path, limits(host_quota=6 * MB, quotas={"db": 20 * MB}), Policy(evict=False))
    site.send("/c/h-1/vmcore", 4)
    with pytest.raises(NoRoom, match="quota") as refused:
        site.begin("/c/h-2/vmcore", expected=4 * MB)
    assert refused.value.errno == errno.EDQUOT
    assert "the quota of web01 (6291456 bytes) leaves" in refused.value.why
    assert not (site.spool.root / "h-2").exists()
    site.send("/c/h-2/vmcore", 4, "web02")
    site.send("/c/db-1/vmcore", 10, "db", expected=10 * MB)
    assert site.view("web01").space().available < 2 * MB
    assert 9 * MB < site.view("db").space().available < 10 * MB


def test_df_and_admission_tell_the_same(tmp_path: Path) -> None:
    """What `df` shows is taken; a little more is not."""
    site = Site(tmp_path, limits(max_use=10 * MB, host_quota=8 * MB), Policy(evict=False))
    site.send("/c/h-1/vmcore", 3)
    site.send("/c/h-2/vmcore", 5, "web02")
    for host in ("web01", "web02"):
        available = site.view(host).space().available
        with pytest.raises(NoRoom):
            site.begin("/c/x/vmcore", host, expected=available + 4096)
        site.begin("/c/x/vmcore", host, expected=available).finish("cut")


def test_max_use_and_keep_free_are_no_space(tmp_path: Path) -> None:
    for number, limit in enumerate((limits(max_use=3 * MB), limits(keep_free="100%"))):
        site = Site(tmp_path / str(number), limit)
        with pytest.raises(NoRoom) as refused:
            site.begin("/c/h-1/vmcore", expected=4 * MB)
        assert refused.value.errno == errno.ENOSPC
        assert not list(site.spool.directories())
    with pytest.raises(OSError, match="No space left"):
        site.view().make_directory(parse_untrusted("/c/h-2"), parents=True)
    with pytest.raises(NoRoom) as refused:
        Site(tmp_path / "big", limits(max_dump_bytes=MB)).begin("/c/h/vmcore", expected=2 * MB)
    assert refused.value.errno == errno.EFBIG


def test_a_percentage_is_one_of_the_file_system() -> None:
    assert [bytes_of(amount, 1000) for amount in (7, "5%", "100%", "0.5%")] == [7, 50, 1000, 5]


def test_the_oldest_core_gives_way_and_only_as_many_as_needed(tmp_path: Path) -> None:
    """Before a client is refused; the last of its host stays."""
    site = Site(tmp_path, limits(max_use=20 * MB))
    for number in range(1, 5):
        site.send(f"/c/h-{number}/vmcore", 4)
    site.send("/c/h-5/vmcore", 6, expected=6 * MB)
    assert [dropped.choice.dump.directory for dropped in site.dropped] == ["h-1"]
    assert site.use() <= 20 * MB
    dump = manifest.load(site.spool.root / "h-1")
    assert dump.removed[0].why == "the oldest that may go, and max_use has no room"
    site.send("/c/h-6/vmcore", 11, expected=11 * MB)
    assert [dropped.choice.dump.directory for dropped in site.dropped] == ["h-1", "h-2", "h-3", "h-4"]


def test_a_host_over_its_quota_gives_up_its_own(tmp_path: Path) -> None:
    site = Site(tmp_path, limits(host_quota=10 * MB))
    site.send("/c/a-1/vmcore", 4, "web02")
    site.send("/c/a-2/vmcore", 4, "web02")
    site.send("/c/h-1/vmcore", 4)
    site.send("/c/h-2/vmcore", 4)
    site.send("/c/h-3/vmcore", 4)
    assert [dropped.choice.dump.directory for dropped in site.dropped] == ["h-1"]


def test_what_does_not_fit_anyway_costs_nothing(tmp_path: Path) -> None:
    """Pinned and protected dumps are no room; nothing goes for an upload that is refused."""
    site = Site(tmp_path, limits(max_use=14 * MB))
    for number in range(1, 4):
        site.send(f"/c/h-{number}/vmcore", 4)
    pins.pin(site.spool, "h-1", iso(0), "ann")
    with pytest.raises(NoRoom):
        site.begin("/c/h-4/vmcore", expected=12 * MB)
    assert site.dropped == []
    site.send("/c/h-4/vmcore", 4)
    assert [dropped.choice.dump.directory for dropped in site.dropped] == ["h-2"]


def test_an_upload_of_unknown_size_is_held_to_the_limit_and_what_came_is_kept(tmp_path: Path) -> None:
    site = Site(tmp_path, limits(host_quota=12 * MB), Policy(evict=False))
    upload = site.begin("/c/h-1/vmcore")
    with pytest.raises(Broken, match="Disk quota exceeded") as broken:
        pour(upload, 20)
    assert broken.value.errno == errno.EDQUOT
    stored = upload.finish()
    assert stored.file.verdict == "truncated"
    assert 11 * MB <= stored.file.bytes <= 12 * MB
    assert stored.file.broken == "Disk quota exceeded"
    assert site.use("web01") <= 12 * MB + 64 * 1024


def test_an_upload_that_outgrows_its_promise_makes_room_as_it_goes(tmp_path: Path) -> None:
    site = Site(tmp_path, limits(max_use=30 * MB))
    for number in range(1, 5):
        site.send(f"/c/h-{number}/vmcore", 5)
    site.send("/c/h-5/vmcore", 20)
    assert [dropped.choice.dump.directory for dropped in site.dropped] == ["h-1", "h-2", "h-3"]
    assert site.use() <= 30 * MB


def test_the_first_promise_is_what_the_host_sent_before(tmp_path: Path) -> None:
    """The smallest of its last whole cores; a log is small."""
    site = Site(tmp_path, limits())
    for path, promised in (("/c/h-1/vmcore", CORE), ("/c/h-1/vmcore-dmesg.txt", SMALL)):
        upload = site.begin(path)
        with site.spool.ledger.changing() as transaction:
            (promise,) = transaction.uploads()
        assert promise.bytes == promised
        upload.finish("cut")
    row = site.spool.ledger.dumps()[0]
    with site.spool.ledger.changing() as transaction:
        for number, size in enumerate((50, 30, 40)):
            transaction.enter(
                replace(row, directory=f"d{number}", complete=True, cores=1, core_bytes=size * MB)
            )
    upload = site.begin("/c/h-2/vmcore")
    with site.spool.ledger.changing() as transaction:
        assert [promise.bytes for promise in transaction.uploads()] == [30 * MB]
    upload.finish("cut")


def test_what_was_promised_to_a_dead_process_is_taken_back(tmp_path: Path) -> None:
    site = Site(tmp_path, limits(host_quota=10 * MB), Policy(evict=False))
    upload = site.begin("/c/h-1/vmcore", expected=8 * MB)
    with pytest.raises(NoRoom):
        site.begin("/c/h-2/vmcore", expected=8 * MB)
    os.close(upload._fd)  # as the kernel does for a killed process
    with site.spool.ledger.changing() as transaction:
        transaction.connection.execute("update uploads set since = since - ?", (ORPHAN_SECONDS,))
    site.begin("/c/h-2/vmcore", expected=8 * MB).finish("cut")


def test_two_hundred_at_once_are_promised_no_byte_twice(tmp_path: Path) -> None:
    """Threads of one process here; processes in tests/receiver/test_space.py."""
    site = Site(tmp_path, limits(max_use=50 * MB), Policy(evict=False))
    site.admission = Admission(site.spool, site.admission.limits, clock=lambda: uploads.NOW)
    begun: list[Upload] = []
    refused: list[NoRoom] = []

    def try_it(number: int) -> None:
        try:
            begun.append(site.begin(f"/c/h-{number}/vmcore", f"host{number % 7}", expected=4 * MB))
        except NoRoom as error:
            refused.append(error)

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) + len(refused) == 200
    assert 11 <= len(begun) <= 12  # and the manifests of those take their part
    for upload in begun:
        upload.finish("cut")


def test_evicting_for_many_at_once_drops_no_more_than_they_need(tmp_path: Path) -> None:
    site = Site(tmp_path, limits(max_use=40 * MB))
    for number in range(9):
        site.send(f"/c/old-{number}/vmcore", 4)
    threads = [
        threading.Thread(target=site.send, args=(f"/c/new-{number}/vmcore", 4, f"host{number}"))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    new = [manifest.load(site.spool.root / f"new-{number}") for number in range(4)]
    assert all(dump.files[0].bytes == 4 * MB for dump in new)
    assert 3 <= len(site.dropped) <= 5
    assert site.use() <= 40 * MB


def test_a_host_has_so_many_dumps_and_no_more(tmp_path: Path) -> None:
    """Empty directories fill no disk's inodes: the oldest without core makes way, else EDQUOT."""
    site = Site(tmp_path, limits(dumps_per_host=3))
    site.send("/c/h-1/vmcore", 1)
    for number in range(2, 6):
        site.send(f"/c/h-{number}/README.txt", 0)
    directories = {path.name for path in site.spool.directories()}
    assert directories == {"h-1", "h-4", "h-5"}
    assert [dropped.choice.act for dropped in site.dropped] == ["drop dump"] * 2
    site.send("/c/h-4/vmcore", 1)
    site.send("/c/h-5/vmcore", 1)
    with pytest.raises(NoRoom) as refused:
        site.begin("/c/h-6/vmcore")
    assert refused.value.errno == errno.EDQUOT
    site.send("/c/h-5/vmcore-dmesg.txt", 0)
    site.send("/c/x/README.txt", 0, "web02")
    names = list(site.spool.names("web01").directory.glob("dumps/*"))
    assert len(names) == 3


def test_a_core_of_a_storm_is_refused_when_its_log_came_first(tmp_path: Path) -> None:
    """Two of the group in the window: the third keeps its log and hears EDQUOT before a byte."""
    site = Site(tmp_path, limits(), Policy(storm_cores=2))

    def crash(number: int) -> None:
        dump = site.send(f"/c/h-{number}/vmcore-dmesg.txt", 0).dump
        with site.spool.changing(dump.directory):
            site.spool.write(replace(manifest.load(site.spool.root / dump.directory), signature="abc"))
        site.send(f"/c/h-{number}/vmcore", 1)

    crash(1)
    crash(2)
    with pytest.raises(NoRoom, match="quota") as refused:
        crash(3)
    assert refused.value.why.startswith("a storm: 2 cores of its group came within 1 hour")
    assert manifest.load(site.spool.root / "h-3").files[0].requested == ("vmcore-dmesg.txt",)
    site.send("/c/h-2/vmcore", 1)  # another attempt at one that is kept


def test_limits_that_were_lowered_are_enforced(tmp_path: Path) -> None:
    site = Site(tmp_path, limits())
    for number in range(1, 6):
        site.send(f"/c/h-{number}/vmcore", 4)
    lower = Admission(site.spool, limits(max_use=13 * MB))
    assert lower.overruns()[0].bytes > 7 * MB
    assert lower.enforce() == []
    assert site.use() <= 13 * MB
    lowest = Admission(site.spool, limits(max_use=2 * MB))
    (lacking,) = lowest.enforce()
    assert "max_use (2097152 bytes) is exceeded by" in lacking.why


def test_the_summary_adds_up(tmp_path: Path) -> None:
    site = Site(tmp_path, limits(max_use=100 * MB, quotas={"web02": 50 * MB}))
    for number in range(1, 4):
        site.send(f"/c/h-{number}/vmcore", 2)
    site.send("/c/a-1/vmcore", 5, "web02")
    upload = site.begin("/c/a-2/vmcore", "web02", expected=7 * MB)
    found = summary.summary(site.spool, site.admission.limits, site.admission.policy, site.clock())
    assert found.bytes == sum(host.bytes for host in found.hosts) == site.use() - 7 * MB
    assert [(host.host, host.dumps, host.quota) for host in found.hosts] == [
        ("web01", 3, None),
        ("web02", 2, 50 * MB),
    ]
    assert (found.dumps, found.cores, found.reserved, found.max_use) == (5, 4, 7 * MB, 100 * MB)
    assert [going.directory for going in found.next] == ["h-1", "h-2"]
    assert found.evictable == sum(going.bytes for going in found.next)
    upload.finish("cut")
