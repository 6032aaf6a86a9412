"""Dump directories: one owner each, names that are safe whatever a client says."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.catalogue.store import Catalogue
from receiver.dump.flattened import WriteAt
from receiver.spool import disk, manifest, names
from receiver.spool.dumps import Owner, Spool
from receiver.spool.manifest import HISTORY, Manifest, ManifestError
from receiver.stores import mend
from receiver.wire.paths import ClientPath, parse_untrusted
from receiver.wire.refused import Refused
from tests.builders import uploads

NOW = "2023-11-14T22:13:20Z"


def owner(name: str) -> Owner:
    return Owner(name, "key", "192.0.2.7")


def test_two_hosts_with_one_directory_name_never_meet(tmp_path: Path) -> None:
    """Also when one's name is built to hit the other's."""
    spool = uploads.spool_in(tmp_path)
    seen = set()
    for host in ("a", "b", "c@b", "a"):
        for path in ("/c/d", "/c/d@b", "/other/d"):
            seen.add((host, path, spool.open_dump(owner(host), parse_untrusted(path), NOW).directory))
    assert len(seen) == len({directory for _, _, directory in seen}) == 9


def test_two_processes_that_claim_at_once_get_two_directories(tmp_path: Path) -> None:
    """mkdir(2) decides; sixteen children of ours race for one name."""
    spool = uploads.spool_in(tmp_path)
    pids = []
    for number in range(16):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                dump = spool.open_dump(owner(f"host{number % 8}"), parse_untrusted("/c/d"), NOW)
                status = 0 if dump.host == f"host{number % 8}" else 2
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 16
    dumps = [manifest.load(path) for path in spool.directories()]
    assert sorted(dump.host for dump in dumps) == [f"host{number}" for number in range(8)]


@given(st.text(max_size=300))
def test_any_name_that_is_taken_makes_a_safe_directory(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """Never hidden, never `..`, never outside the root, never too long."""
    try:
        path = ClientPath(()).child_untrusted(text)
    except Refused:
        return
    base = tmp_path_factory.mktemp("spool")
    spool = uploads.spool_in(base)
    for host in ("h" * 64 + "@" + "2001:0db8:" * 4, "web01"):
        directory = spool.open_dump(owner(host), path, NOW).directory
        assert not directory.startswith(".")
        assert (spool.root / directory).parent == spool.root
        assert set(directory) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_%@:.,+=~-"
        )


def test_directories_without_a_dump_are_bounded(tmp_path: Path) -> None:
    """A host that only makes directories forgets its oldest."""
    known = names.Names(tmp_path / "names")
    for number in range(names.ANNOUNCED_MAX + 20):
        known.announce(parse_untrusted(f"/c/{number}"))
        os.utime(next((tmp_path / "names").glob("announced/*")))
    assert len(list((tmp_path / "names" / "announced").iterdir())) == names.ANNOUNCED_MAX
    assert known.is_directory(parse_untrusted(f"/c/{names.ANNOUNCED_MAX + 19}"))


def test_a_manifest_says_again_what_it_was_told(tmp_path: Path) -> None:
    """Round trip, and a history that does not grow for ever."""
    (tmp_path / "d").mkdir()
    dump = Manifest(
        id="0123456789",
        host="web01",
        how="key",
        peer="192.0.2.7",
        client="unknown",
        directory="d",
        requested="/c/d",
        date=NOW,
    )
    for number in range(HISTORY + 50):
        dump = dump.noted(NOW, f"event {number}", "x" * 1000)
    assert (len(dump.history), dump.history[0].what) == (HISTORY, "event 0")
    manifest.store(tmp_path, dump)
    assert manifest.load(tmp_path / "d") == dump
    assert manifest.from_json(manifest.as_json(dump)) == dump


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 5}', "\udcff"])
def test_a_broken_manifest_says_where_and_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ManifestError, match=r"manifest\.json: .*rebuild"):
        manifest.load(tmp_path)


def mended(spool: Spool, base: Path) -> list[str]:
    """Directories that a start brought in order; a trouble is a failure."""
    catalogue = Catalogue(f"sqlite:///{base / 'catalogue.sqlite'}", spool.state)
    try:
        found = mend(spool, catalogue, uploads.NOW, lambda path, error: pytest.fail(f"{path}: {error}"))
        return [one.dump.directory for one in found]
    finally:
        catalogue.close()


def test_what_is_no_dump_in_the_root_is_left_alone(tmp_path: Path) -> None:
    """The state directory, lost+found, empty directories, files."""
    spool = Spool(tmp_path / "spool", tmp_path / "spool" / "state")
    (spool.root / "lost+found").mkdir(mode=0o000)
    (spool.root / "empty").mkdir()
    (spool.root / "note.txt").write_text("mine")
    dump = uploads.Host(spool).send("/c/d/README.txt", b"hello\n").dump
    assert mended(spool, tmp_path) == [dump.directory]


def test_a_renamed_and_a_copied_directory_are_two_dumps(tmp_path: Path) -> None:
    """Operators move things; the id stays with the one, the copy gets its own."""
    spool = uploads.spool_in(tmp_path)
    dump = uploads.Host(spool).send("/c/d/README.txt", b"hello\n").dump
    (spool.root / "d").rename(spool.root / "moved")
    mended(spool, tmp_path)
    assert manifest.load(spool.root / "moved").id == dump.id
    (spool.root / "copy").mkdir()
    for path in (spool.root / "moved").iterdir():
        (spool.root / "copy" / path.name).write_bytes(path.read_bytes())
    assert mended(spool, tmp_path) == ["copy", "moved"]
    copy = manifest.load(spool.root / "copy")
    assert (copy.directory, copy.id == dump.id) == ("copy", False)
    again = uploads.Host(spool).send("/c/d/a.txt", b"more\n").dump
    assert again.directory == "moved"


def test_one_dump_that_cannot_be_mended_stops_no_other(tmp_path: Path) -> None:
    """A manifest that is a directory, of all things."""
    spool = uploads.spool_in(tmp_path)
    (spool.root / "bad" / manifest.NAME).mkdir(parents=True)
    (spool.root / "bad" / "vmcore").write_bytes(b"x")
    dump = uploads.Host(spool).send("/c/d/README.txt", b"hello\n").dump
    catalogue = Catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}", spool.state)
    troubles: list[Path] = []
    found = list(mend(spool, catalogue, uploads.NOW, lambda path, _: troubles.append(path)))
    catalogue.close()
    assert [one.dump.id for one in found] == [dump.id]
    assert troubles == [spool.root / "bad"]


PLACES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=40)


@given(PLACES)
def test_later_writes_win_however_they_are_gathered(places: list[tuple[int, int]]) -> None:
    """Runs that grow side by side are written out of their order; where they overlap it is kept."""
    writes = [
        WriteAt(offset, memoryview(bytes([number + 1]) * size))
        for number, (offset, size) in enumerate(places)
    ]
    expected = bytearray(80)
    for offset, data in writes:
        expected[offset : offset + len(data)] = data
    with tempfile.TemporaryFile() as file:
        file.truncate(80)
        done = disk.write_all(file.fileno(), writes)
        assert sum(size for _, size in done) == sum(size for _, size in places)
        file.seek(0)
        assert file.read() == expected


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pwritev(2) may take less than it was given, at any byte."""
    real = os.pwritev

    def short(fd: int, buffers: list[memoryview], offset: int) -> int:
        return real(fd, [buffers[0][: max(1, len(buffers[0]) // 2)]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    with open(tmp_path / "file", "w+b") as file:
        writes = [WriteAt(offset, memoryview(bytes([offset + 1]) * 7)) for offset in (0, 7, 30, 14)]
        assert disk.write_all(file.fileno(), writes) == [(30, 7), (0, 21)]
        assert (tmp_path / "file").read_bytes() == (
            b"\1" * 7 + b"\10" * 7 + b"\17" * 7 + bytes(9) + b"\37" * 7
        )
