"""kill -9 at every step: what was acknowledged is there, the rest is kept, nothing lies about.

A child process does what a server does, and kills itself before or after its n-th
system call that changes the file system, for every n until it comes through.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.catalogue.store import Catalogue, Query
from receiver.dump.worth import Verdict
from receiver.spool import hashing, manifest
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest
from receiver.stores import catch_up, enlist, mend
from receiver.wire.paths import parse_untrusted
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump

CHANGING = ("rename", "link", "unlink", "mkdir", "fsync", "open", "pwritev", "ftruncate", "write")
SECONDS = 3600 * 24.0

PAGES = {number: bytes([number % 251 + 1]) * 4096 for number in range(24)}
STREAM = flattened.stream(Kdump(PAGES, compression="none").writes())
IMAGE = flattened.image(STREAM)
README = b"kdump-save was here\n"
README_AGAIN = b"kdump-save is done.\n"  # of the same size: only its inode tells it from the first

Acknowledge = Callable[[str, bytes], None]
Scenario = Callable[[Spool, Catalogue, Acknowledge], None]


def resend(spool: Spool, catalogue: Catalogue, acknowledge: Acknowledge) -> None:
    """Debian: an upload breaks off, the raw dump comes again; README.txt twice, as SUSE sends it."""
    host = uploads.Host(spool)
    host.send("/c/h-1/README.txt", README)
    acknowledge("README.txt", README)
    cut = host.send("/c/h-1/vmcore-incomplete", STREAM[:50_000], broken="the connection was lost")
    acknowledge("vmcore-incomplete", flattened.image(STREAM[:50_000]))
    enlist(spool, catalogue, cut.dump.directory)
    host.send("/c/h-1/vmcore-incomplete", STREAM[:70_000], broken="the connection was lost")
    acknowledge("vmcore-incomplete", flattened.image(STREAM[:70_000]))
    whole = host.send("/c/h-1/vmcore-incomplete", IMAGE)
    acknowledge("vmcore-incomplete", IMAGE)
    enlist(spool, catalogue, whole.dump.directory)
    host.move("/c/h-1/vmcore-incomplete", "/c/h-1/vmcore")
    acknowledge("vmcore", IMAGE)
    host.send("/c/h-1/README.txt", README_AGAIN)
    acknowledge("README.txt", README_AGAIN)
    enlist(spool, catalogue, whole.dump.directory)


def twice(spool: Spool, catalogue: Catalogue, acknowledge: Acknowledge) -> None:
    """Two crashes of one size in one minute, a rename onto a name that is taken, a hash afterwards."""
    host = uploads.Host(spool)
    second = bytes([*IMAGE[:-1], IMAGE[-1] ^ 1])
    for image in (IMAGE, second):
        stored = host.send("/c/h-2/dump.1", image)
        acknowledge("dump.1", image)
    host.send("/c/h-2/a.txt", b"first\n")
    acknowledge("a.txt", b"first\n")
    host.send("/c/h-2/a-incomplete.txt", b"other\n")
    acknowledge("a-incomplete.txt", b"other\n")
    host.move("/c/h-2/a-incomplete.txt", "/c/h-2/a.txt")
    acknowledge("a.txt", b"other\n")
    hashing.with_digest(spool, stored.dump.directory, "vmcore")
    enlist(spool, catalogue, stored.dump.directory)


def die_at(number: int) -> None:
    """Kill this process at its `number`-th change: odd ones before it happens, even ones after."""
    count = 0

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

    for name in CHANGING:
        setattr(os, name, counted(getattr(os, name)))


def run_killed(base: Path, scenario: Scenario, number: int) -> tuple[bool, list[tuple[str, str]]]:
    """Whether it came through, and the names and hashes that it acknowledged."""
    ours, theirs = os.pipe()
    write = os.write
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(ours)
            spool = uploads.spool_in(base)
            catalogue = Catalogue(f"sqlite:///{base / 'catalogue.sqlite'}", spool.state)

            def acknowledge(name: str, data: bytes) -> None:
                write(theirs, json.dumps([name, hashlib.sha256(data).hexdigest()]).encode() + b"\n")

            die_at(number)
            scenario(spool, catalogue, acknowledge)
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        acknowledged = [tuple(json.loads(line)) for line in pipe]
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status == 0, acknowledged


def kills(base: Path, scenario: Scenario, step: int) -> Iterator[tuple[int, Path, list[tuple[str, str]]]]:
    """Each kill with the place it left behind."""
    number = 1
    through = False
    while not through:
        place = base / str(number)
        place.mkdir()
        through, acknowledged = run_killed(place, scenario, number)
        yield number, place, acknowledged
        number += step


def told_once(catalogue: Catalogue, dump: Manifest) -> bool:
    """Whether the journal tells of each core that the dump holds, once: no webhook is lost or doubled."""
    entries = catalogue.journal.after(0, names=["upload.finished"], dump=dump.id)
    told = Counter(entry.fields["bytes"] for entry in entries if entry.fields["core"])
    return told == Counter(file.bytes for file in dump.files if file.core)


def check(place: Path, acknowledged: list[tuple[str, str]]) -> None:
    """The next start: every acknowledged file is found, and every manifest tells the truth."""
    spool = uploads.spool_in(place)
    catalogue = Catalogue(f"sqlite:///{place / 'catalogue.sqlite'}", spool.state)
    # What `list` shows before any start: the dumps as their manifests say.
    catch_up(spool, catalogue)
    for path in spool.directories():
        if (path / manifest.NAME).exists() and manifest.load(path).files:
            assert manifest.load(path) in list(catalogue.find(Query()))

    troubles: list[Exception] = []
    list(mend(spool, catalogue, uploads.NOW + SECONDS, lambda _, error: troubles.append(error)))
    assert troubles == []
    stored: dict[str, list[str]] = {}
    for directory in spool.directories():
        names = {path.name for path in directory.iterdir()}
        if not names:
            continue  # made, and never written into
        dump = manifest.load(directory)
        assert names == {file.name for file in dump.files} | {manifest.NAME}
        assert len({file.name for file in dump.files}) == len(dump.files)
        for file in dump.files:
            data = (directory / file.name).read_bytes()
            assert len(data) == file.bytes
            assert file.sha256 == hashlib.sha256(data).hexdigest()
            stored.setdefault(file.sha256, []).extend(file.requested)
        cores = [file for file in dump.files if file.core]
        if any(file.verdict is Verdict.COMPLETE for file in cores):
            assert (directory / "vmcore").exists()
            assert dump.verdict == Verdict.COMPLETE
        assert [row for row in catalogue.find(Query()) if row.directory == directory.name] == [dump]
        assert told_once(catalogue, dump)
    for name, sha256 in acknowledged:
        assert name in stored[sha256]
    # Once is enough: a second start finds nothing to do.
    before = {path: path.stat().st_mtime_ns for path in spool.root.rglob(manifest.NAME)}
    list(mend(spool, catalogue, uploads.NOW + SECONDS, lambda _, error: troubles.append(error)))
    assert before == {path: path.stat().st_mtime_ns for path in spool.root.rglob(manifest.NAME)}
    assert spool.behind() == []
    catalogue.close()


@pytest.mark.parametrize("scenario", [resend, twice])
def test_a_kill_at_any_step_loses_nothing_that_was_acknowledged(tmp_path: Path, scenario: Scenario) -> None:
    """Every eleventh step; `make soak` takes them all."""
    for number, place, acknowledged in kills(tmp_path, scenario, 11):
        try:
            check(place, acknowledged)
        except BaseException as error:
            error.add_note(f"killed at step {number}")
            raise


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scenario", [resend, twice])
def test_a_kill_at_every_step_loses_nothing_that_was_acknowledged(tmp_path: Path, scenario: Scenario) -> None:
    """All of them, some hundreds."""
    points = 0
    for number, place, acknowledged in kills(tmp_path, scenario, 1):
        points += 1
        try:
            check(place, acknowledged)
        except BaseException as error:
            error.add_note(f"killed at step {number}")
            raise
    assert points > 200


def test_the_hash_of_a_killed_raw_upload_is_that_of_its_bytes(tmp_path: Path) -> None:
    """What counted the wire's bytes died; an empty hash must not stand for it."""
    spool = uploads.spool_in(tmp_path)
    host = uploads.Host(spool)
    upload = host.view.begin(parse_untrusted("/c/h-3/vmcore"), "cat")
    upload.write(IMAGE[:100_000])
    os.close(upload._fd)  # as the kernel does for a killed process
    catalogue = Catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}", spool.state)
    (mended,) = mend(spool, catalogue, uploads.NOW, lambda path, error: pytest.fail(f"{path}: {error}"))
    (file,) = mended.tidied
    assert file.name == "vmcore.incomplete"
    assert file.verdict is Verdict.TRUNCATED
    assert file.sha256 == hashlib.sha256(IMAGE[:100_000]).hexdigest()
    catalogue.close()
