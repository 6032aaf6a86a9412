"""Names of attempts: nothing is replaced, the best core has the plain name."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.dump.worth import Verdict
from receiver.spool import attempts
from receiver.spool.manifest import OURS, load
from receiver.wire.paths import parse_untrusted
from tests.builders import flattened, uploads
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump

STREAM = flattened.stream(Kdump({n: bytes([n + 1]) * 4096 for n in range(8)}, compression="none").writes())
ELF = flattened.image(flattened.stream(ElfCore([Load(0, bytes(8192), 0)]).writes()))
WHOLE = flattened.image(STREAM)

NAMES = (
    "vmcore",
    "vmcore-incomplete",
    "README-incomplete.txt",
    "vmcore.flat",
    "dump.202311142213",
    "vmcore1",
    "README.txt",
    "a",
    "a.1",
)
BODIES = (STREAM, STREAM[:30_000], STREAM[:20_000], WHOLE, ELF, b"text\n", b"more text\n", b"\0\1\2", b"")
SENDS = st.tuples(
    st.just("send"), st.sampled_from(NAMES), st.sampled_from(range(len(BODIES)))
)  # by number: examples stay readable
MOVES = st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES))


def _image(body: bytes) -> bytes:
    return flattened.image(body) if body.startswith(flattened.SIGNATURE) else body


@settings(max_examples=60, deadline=None)
@given(st.lists(SENDS | MOVES, max_size=9))
def test_whatever_comes_in_whatever_order_stays(steps: list[tuple[str, str, object]]) -> None:
    """Every stored byte sequence is found again, and the best whole core is called vmcore."""
    with tempfile.TemporaryDirectory() as directory:
        spool = uploads.spool_in(Path(directory))
        host = uploads.Host(spool)
        sent: list[str] = []
        dump = None
        for _what, name, other in steps:
            if isinstance(other, int):
                body = BODIES[other]
                dump = host.send(f"/c/d/{name}", body).dump
                sent.append(hashlib.sha256(_image(body)).hexdigest())
            elif host.view.find(parse_untrusted(f"/c/d/{name}")):
                if "incomplete" in name:
                    dump = host.move(f"/c/d/{name}", f"/c/d/{other}")
                else:  # stored under its own name: it keeps that
                    with pytest.raises(PermissionError):
                        host.move(f"/c/d/{name}", f"/c/d/{other}")
        if dump is None:
            return
        found = uploads.contents(spool, dump)
        assert sorted(hashlib.sha256(data).hexdigest() for data in found.values()) == sorted(sent)
        on_disk = {path.name for path in (spool.root / dump.directory).iterdir()}
        assert on_disk == {*found, "manifest.json"}
        known = load(spool.root / dump.directory)
        assert all(file.sha256 == hashlib.sha256(found[file.name]).hexdigest() for file in known.files)
        best = attempts.best([file for file in known.files if file.core])
        if best is not None:
            assert (known.verdict, known.reason) == (best.verdict, best.reason)
            if best.verdict is Verdict.COMPLETE and not attempts.is_part(best):
                assert known.files
                assert "vmcore" in found
                plain = next(file for file in known.files if file.name == "vmcore")
                assert plain.verdict is Verdict.COMPLETE


def test_debians_resend_makes_vmcore_the_complete_one(tmp_path: Path) -> None:
    """kdump-tools sends the flattened dump, and after a failure /proc/vmcore itself."""
    host = uploads.Host(uploads.spool_in(tmp_path))
    host.send("/c/d/dump.1", STREAM[:20_000], broken="connection lost")
    dump = host.send("/c/d/vmcore.1", ELF).dump
    found = uploads.contents(host.spool, dump)
    assert found == {"vmcore": ELF, "vmcore.incomplete": flattened.image(STREAM[:20_000])}
    assert dump.verdict == Verdict.COMPLETE


def test_a_worse_second_attempt_does_not_speak_for_the_dump(tmp_path: Path) -> None:
    """Two crashes in one minute: the facts are those of the core that is called vmcore."""
    host = uploads.Host(uploads.spool_in(tmp_path))
    first = Kdump({n: bytes([n + 1]) * 4096 for n in range(8)}, release="6.1.0-first")
    second = Kdump({n: bytes([n + 9]) * 4096 for n in range(8)}, release="6.1.0-second")
    host.send("/c/d/vmcore", flattened.stream(first.writes()))
    stream = flattened.stream(second.writes())
    dump = host.send("/c/d/vmcore", stream[:-50], broken="connection lost").dump
    assert dump.kernel_release == "6.1.0-first"
    assert dump.verdict == Verdict.COMPLETE


def test_split_sets_keep_their_numbers(tmp_path: Path) -> None:
    """kdumptool's vmcore1 ... vmcoreN are parts, not attempts."""
    host = uploads.Host(uploads.spool_in(tmp_path))
    for part in (1, 2, 3):
        dump = host.send(f"/c/d/vmcore{part}", WHOLE).dump
    assert [file.name for file in dump.files] == ["vmcore1", "vmcore2", "vmcore3"]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("opalcore", "opalcore"),
        ("manifest.json", "_manifest.json"),
        ("report.json", "_report.json"),
        (".incoming-1", "_.incoming-1"),
        ("vmcore-dmesg.txt", "vmcore-dmesg.txt"),
        ("x" * 255, "x" * 230),
        ("é" * 127, "é" * 115),
    ],
)
def test_other_files_keep_their_names_unless_they_are_ours(tmp_path: Path, sent: str, stored: str) -> None:
    """Nothing a client names gets in the way of what we write, and every suffix still fits."""
    host = uploads.Host(uploads.spool_in(tmp_path))
    body = WHOLE if sent == "opalcore" else b"[    0.000000] Linux version\n"
    assert host.send(f"/c/d/{sent}", body).file.name == stored
    again = host.send(f"/c/d/{sent}", body).dump
    assert {file.name for file in again.files} == {stored, f"{stored}.1"}
    assert not {file.name for file in again.files} & OURS


def test_a_file_that_an_operator_left_there_is_not_replaced(tmp_path: Path) -> None:
    """crash's own output beside a dump may have any name."""
    host = uploads.Host(uploads.spool_in(tmp_path))
    dump = host.send("/c/d/README.txt", b"hello\n").dump
    mine = host.spool.root / dump.directory / "vmcore"
    mine.write_bytes(b"the operator's own")
    assert host.send("/c/d/vmcore", STREAM).file.name == "vmcore.1"
    assert mine.read_bytes() == b"the operator's own"
