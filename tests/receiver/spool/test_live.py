"""Uploads under way: found at little cost, and how fast they are just now."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from receiver.spool import live
from receiver.spool.clock import iso
from receiver.spool.incoming import Incoming
from receiver.spool.writer import Upload
from receiver.wire.paths import parse_untrusted
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump

STREAM = flattened.stream(Kdump({n: os.urandom(4096) for n in range(64)}).writes())
SILENCE = 120.0
NOTE = Incoming("a", "d", "h-1", ("vmcore.flat",), "dd", "web01", "192.0.2.7", iso(uploads.NOW))


def begun(host: uploads.Host, path: str) -> Upload:
    """An upload of which a half has come."""
    upload = host.view.begin(parse_untrusted(path), "dd")
    upload.write(STREAM[: len(STREAM) // 2])
    return upload


def test_an_upload_shows_until_it_is_stored(tmp_path: Path) -> None:
    """Its note says whose it is; a stored one is none any more, nor is what a killed server left."""
    spool = uploads.spool_in(tmp_path)
    upload = begun(uploads.Host(spool), "/var/crash/h-1/vmcore.flat")
    (note,) = live.uploads(spool.root, time.time(), SILENCE)
    assert (note.host, note.requested, note.wire_bytes) == ("web01", ("vmcore.flat",), len(STREAM) // 2)
    upload.write(STREAM[len(STREAM) // 2 :])
    upload.finish()
    assert list(live.uploads(spool.root, time.time(), SILENCE)) == []
    orphan = spool.root / "h-1" / ".incoming-dead"
    orphan.write_bytes(b"")
    orphan.with_name(".incoming-dead.json").write_bytes(b"{}")
    assert list(live.uploads(spool.root, time.time(), SILENCE)) == []


def test_a_second_file_of_a_stored_dump_shows_too(tmp_path: Path) -> None:
    """The catalogue's row says `complete` by then; the directory tells."""
    spool = uploads.spool_in(tmp_path)
    uploads.Host(spool).send("/var/crash/h-1/vmcore.flat", STREAM)
    upload = begun(uploads.Host(spool), "/var/crash/h-1/vmcore-dmesg.txt")
    (note,) = live.uploads(spool.root, time.time(), SILENCE)
    assert note.requested == ("vmcore-dmesg.txt",)
    upload.finish()


def test_directories_that_lay_still_are_not_opened(tmp_path: Path) -> None:
    """Whatever lies in them: of a silent upload's, the server closes the connection long before."""
    spool = uploads.spool_in(tmp_path)
    upload = begun(uploads.Host(spool), "/var/crash/h-1/vmcore.flat")
    later = time.time() + 2 * SILENCE + live.MARGIN_SECONDS
    assert list(live.uploads(spool.root, later - 60, SILENCE))
    assert not list(live.uploads(spool.root, later + 60, SILENCE))
    upload.finish("it was a test")


def at(seconds: float, mib: int, fraction: float | None = None) -> Incoming:
    """The note, so many seconds after the first byte."""
    return replace(
        NOTE,
        seconds=seconds,
        wire_bytes=mib << 20,
        fraction=fraction,
        eta_seconds=seconds / fraction - seconds if fraction else None,
    )


def test_the_first_look_tells_the_pace_since_the_beginning() -> None:
    (one,) = live.Pace().observe([at(10, 100, 0.25)], uploads.NOW + 11)
    assert one == live.Moving(at(10, 100, 0.25), 10 * (1 << 20), 29.0, 1.0)


def test_later_looks_tell_the_pace_of_the_last_seconds() -> None:
    """An upload that began slowly is fast when it is fast now."""
    pace = live.Pace()
    for second in range(100):
        pace.observe([at(second + 1.0, second, (second + 1) / 1000)], uploads.NOW + second + 1)
    for second in range(100, 120):
        (one,) = pace.observe(
            [at(second + 1.0, 100 + 10 * (second - 100), 0.1 + (second - 99) / 100)],
            uploads.NOW + second + 1,
        )
    assert one.bytes_per_second == 10 << 20
    assert one.eta_seconds is not None
    assert round(one.eta_seconds) == 70


def test_a_still_upload_has_no_pace() -> None:
    """Its last note is all there is: no rate, no time left, and for how long."""
    pace = live.Pace()
    pace.observe([at(1, 10, 0.1)], uploads.NOW + 1)
    (one,) = pace.observe([at(2, 20, 0.2)], uploads.NOW + 62)
    assert (one.bytes_per_second, one.eta_seconds, one.silent_seconds) == (0.0, None, 60.0)


def test_what_is_gone_is_forgotten_and_the_oldest_stands_first() -> None:
    """Rows stay where they are while others come and go."""
    pace = live.Pace()
    other = replace(at(1, 1), id="b", started=iso(uploads.NOW - 60))
    assert [one.note.id for one in pace.observe([at(1, 1), other], uploads.NOW)] == ["b", "a"]
    assert [one.note.id for one in pace.observe([at(2, 1)], uploads.NOW)] == ["a"]
    assert pace.observe([], uploads.NOW) == []
