"""Debian's and Ubuntu's kdump-config, whose lines are simple and whose failures are taken twice.

Source: kdump-tools 1:1.8.1. tests/contract/test_kdump_config.py runs the real program.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rig.machine import Machine
from tests.rig.sample import Sample

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

STAMP = "202404021122"
D = f"/var/crash/10.0.1.7-{STAMP}"


def capture(compress: str = "cat", extension: str = "", *, scp: str = "-s") -> str:
    """What `kdump-config savecore` runs when all goes well."""
    return f"""
        ssh -i $KEY $T mkdir -p {D} || exit 1
        echo panic > dmesg.ssh.{STAMP}
        scp {scp} -i $KEY dmesg.ssh.{STAMP} $T:{D}/dmesg.{STAMP} || exit 2
        cat $STREAM | {compress} | ssh -i $KEY $T dd of={D}/dump-incomplete{extension} || exit 3
        ssh -i $KEY $T mv {D}/dump-incomplete{extension} {D}/dump.{STAMP}{extension} || exit 4
    """


@pytest.mark.parametrize("scp", ["-O", "-s"])
def test_log_and_core_arrive(host: Host, sample: Sample, whole: Whole, scp: str) -> None:
    """The log by scp, the stream by `dd`; `dump.STAMP` is stored as `vmcore`."""
    machine = host("deb")
    machine.sh(capture(scp=scp), STREAM=sample.stream)
    dump = whole(machine, "debian", f"dmesg.{STAMP}")
    assert dump["files"][1]["requested"] == ["dump-incomplete", f"dump.{STAMP}"]


@pytest.mark.parametrize(
    ("command", "extension"),
    [("gzip -c", ".gz"), ("bzip2 -c", ".bz2"), ("xz -0 -c", ".xz"), ("lz4 -c", ".lz4"), ("zstd -c", ".zst")],
)
def test_a_compressed_stream_is_opened(
    host: Host, sample: Sample, whole: Whole, command: str, extension: str
) -> None:
    """KDUMP_COMPRESSION: what lies on disk is the core itself, ready for crash."""
    machine = host("deb")
    machine.sh(capture(command, extension), STREAM=sample.stream)
    vmcore = whole(machine, "debian", f"dmesg.{STAMP}")["files"][1]
    assert (vmcore["kind"], vmcore["wrapper"]) == ("flattened", command.split()[0])
    assert vmcore["wire_bytes"] != sample.stream.stat().st_size


def test_the_raw_core_that_follows_a_failure_wins(host: Host, sample: Sample) -> None:
    """A broken stream is sent again, raw and by scp: another attempt, and the whole one wins."""
    machine = host("deb")
    machine.sh(
        f"""
        ssh -i $KEY $T mkdir -p {D} || exit 1
        head -c 2000000 $STREAM | ssh -i $KEY $T dd of={D}/dump-incomplete
        scp -i $KEY $CORE $T:{D}/vmcore-incomplete || exit 2
        ssh -i $KEY $T mv {D}/vmcore-incomplete {D}/vmcore.{STAMP} || exit 3
        """,
        STREAM=sample.stream,
        CORE=sample.rearranged,
    )
    dump = machine.dump()
    verdicts = {file["name"]: file["verdict"] for file in dump["files"]}
    assert verdicts == {"vmcore": "complete", "vmcore.incomplete": "truncated"}
    assert (dump["verdict"], dump["client"]) == ("complete", "debian")


def test_two_crashes_in_one_minute_share_a_directory(host: Host, sample: Sample) -> None:
    """The stamp has minutes only: the second core and log are kept beside the first."""
    machine = host("deb")
    machine.sh(capture() + capture(), STREAM=sample.stream)
    names = {file["name"] for file in machine.dump()["files"]}
    assert names == {"vmcore", "vmcore.1", f"dmesg.{STAMP}", f"dmesg.{STAMP}.1"}


def test_an_unfiltered_elf_core_arrives(host: Host, shared: Path, tmp_path: Path, whole: Whole) -> None:
    """/proc/vmcore itself, by scp: the ELF core of a whole machine, stored as it was sent."""
    core = tmp_path / "proc-vmcore"
    with gzip.open(shared / "vmcores/variants/vmcore.raw.gz") as packed, core.open("wb") as file:
        shutil.copyfileobj(packed, file)
    machine = host("deb")
    machine.sh(
        f"""
        ssh -i $KEY $T mkdir -p {D} || exit 1
        scp -i $KEY $CORE $T:{D}/vmcore-incomplete || exit 2
        ssh -i $KEY $T mv {D}/vmcore-incomplete {D}/vmcore.{STAMP} || exit 3
        """,
        CORE=core,
    )
    dump = machine.dump()
    assert (dump["verdict"], dump["client"], dump["files"][0]["kind"]) == ("complete", "debian", "elf")
    assert subprocess.run(["cmp", core, machine.directory() / "vmcore"]).returncode == 0


def test_the_dump_of_a_stock_debian(host: Host, shared: Path, tmp_path: Path, whole: Whole) -> None:
    """A stream that a stock Debian 12 sent after a real crash of its cloud kernel."""
    (tmp_path / "sample").mkdir()
    stock = Sample.of(shared / "vmcores/debian-stock/m640.dump", tmp_path / "sample")
    machine = host("deb")
    machine.sh(capture(), STREAM=stock.stream)
    whole(machine, "debian", f"dmesg.{STAMP}", of=stock)
