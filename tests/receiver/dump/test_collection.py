"""The wider collection of real dumps beside the checkout: other kernels, kinds, formats and accidents."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from receiver.dump import inplace
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.pread import of_bytes
from receiver.dump.printk import log_untrusted
from receiver.dump.verdict import judge_untrusted
from receiver.dump.worth import Verdict
from tests.builders import flattened

pytestmark = pytest.mark.shared

NOT_DUMPS = {".txt", ".log", ".md", ".dmesg", ""}


def dumps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in NOT_DUMPS)


def content(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def rearranged(data: bytes) -> bytes:
    return flattened.image(data) if data.startswith(flattened.SIGNATURE) else data


def test_every_whole_dump_is_complete_and_gives_makedumpfiles_log(shared: Path, tmp_path: Path) -> None:
    """Byte for byte; Debian's makedumpfile cannot open zstd, so there the sibling's log is expected."""
    expected = (shared / "vmcores/variants/dmesg.makedumpfile.txt").read_bytes()
    whole = ("kinds", "variants", "debian-stock")
    files = [path for part in whole for path in dumps(shared / "vmcores" / part)]
    assert len(files) >= 19
    for path in files:
        image = rearranged(content(path))
        kind = sniff_untrusted(image[:4096])
        judged = judge_untrusted(of_bytes(image), len(image), kind, ended=None, deep=True, workers=1)
        assert judged.verdict is Verdict.COMPLETE, (path.name, judged.reason)
        log = log_untrusted(of_bytes(image), kind)
        assert not log.missing
        if path.suffix == ".zstd":
            assert log.data == expected
            continue
        (tmp_path / "vmcore").write_bytes(image)
        argv = ["makedumpfile", "-f", "--dump-dmesg", str(tmp_path / "vmcore"), str(tmp_path / "log")]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        assert log.data == (tmp_path / "log").read_bytes(), path.name


def test_every_accident_is_truncated(shared: Path) -> None:
    """A guest that was reset or froze, a collector that died, a full disk."""
    files = list((shared / "vmcores/truncated").iterdir())
    assert len(files) >= 4
    for path in files:
        data = path.read_bytes()
        image = rearranged(data)
        ended = False if image is not data else None
        judged = judge_untrusted(of_bytes(image), len(image), Kind.KDUMP, ended=ended, deep=True, workers=1)
        assert judged.verdict is Verdict.TRUNCATED, (path.name, judged.reason)
        assert judged.facts.kernel_release
        assert judged.pages_present
        assert judged.pages_total
        assert judged.pages_present < judged.pages_total


def test_cut_dumps_give_their_log_wherever_its_pages_came(shared: Path) -> None:
    """At 80, 85, 90, 95 and 99 %; an ELF stream gives all of it, though its headers come last."""
    for path in dumps(shared / "vmcores/kinds")[:4] + dumps(shared / "vmcores/variants"):
        data = content(path)
        whole = log_untrusted(of_bytes(rearranged(data)), sniff_untrusted(rearranged(data)[:4096]))
        for percent in (80, 85, 90, 95, 99):
            image = rearranged(data[: len(data) * percent // 100])
            log = log_untrusted(of_bytes(image), sniff_untrusted(image[:4096]))
            if log.source is None:
                assert percent < 85, (path.name, percent, log.why)
                assert "was never written" in log.why or "behind the end" in log.why
                continue
            assert len(log.records) + log.missing == len(whole.records), (path.name, percent)
            assert set(log.records) <= set(whole.records)
            assert log == whole or percent < 95
            if ".elf." in path.name or ".raw." in path.name:
                assert log == whole


def test_streams_read_in_place_are_their_rearranged_selves(shared: Path) -> None:
    """Among them ELF with records that overlap."""
    for path in dumps(shared / "vmcores"):
        data = content(path)
        if data.startswith(flattened.SIGNATURE):
            view = inplace.open_untrusted(of_bytes(data))
            assert view.pread(0, view.size) == flattened.image(data), path.name
