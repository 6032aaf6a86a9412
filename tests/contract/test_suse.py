"""SUSE: kdumptool's ssh:// and sftp:// (SLE10 to SLE15 SP5), and kdump-save's (SLE15 SP6 on, Tumbleweed).

Sources: openSUSE/kdump, kdumptool 0.5.0 to 1.0.3; kdump-save 1.9 to 2.0.17, whose sftp:// is lftp.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rig.machine import Machine
from tests.rig.sample import Sample, osrelease
from tests.rig.sftp3 import Sftp3

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

OLD = "/var/log/dump/10.0.1.7-2017-06-02-11:22"
NEW = "/var/crash/web01-2024-04-02-11-22"
KDUMPTOOL_FILES = {
    "dmesg.txt": b"panic\n",
    "vmcore": b"",  # the sample's stream
    "makedumpfile-R.pl": b"#!/usr/bin/perl\n",
    "rearrange.sh": b"#!/bin/sh\n",
    "README.txt": b"To read the dump, rearrange it\n",
    "System.map-6.1.192": b"ffffffff81000000 T _text\n",
    "vmlinux-6.1.192.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\3\x03\0\0\0\0\0\0\0\0\0",
}
BESIDE = tuple(name for name in KDUMPTOOL_FILES if name != "vmcore")


def test_kdumptool_sends_by_ssh(host: Host, sample: Sample, whole: Whole) -> None:
    """0.8.12 on: each file is written and renamed in one line; the kernel and its map lie beside the core."""
    machine = host("sle12")
    for name, content in KDUMPTOOL_FILES.items():
        (machine.home / name).write_bytes(content or sample.stream.read_bytes())
    machine.sh(f"ssh -l kdump collector 'mkdir -p {OLD}' || exit 1")
    for name in KDUMPTOOL_FILES:
        line = f"dd of={OLD}/{name}-incomplete && mv {OLD}/{name}-incomplete {OLD}/{name}"
        machine.sh(f"ssh -l kdump collector '{line}' < {name} || exit 2")
    dump = whole(machine, "suse-kdumptool", *BESIDE)
    assert (machine.directory() / "README.txt").read_bytes() == KDUMPTOOL_FILES["README.txt"]
    assert dump["requested"] == OLD


@pytest.mark.parametrize(
    "directory",
    [pytest.param(OLD, id="0.9.0 on"), pytest.param("/dump/2012-06-02-11:22", id="no host's name")],
)
def test_kdumptool_sends_by_sftp(host: Host, sample: Sample, whole: Whole, directory: str) -> None:
    """0.8.16 on: its own SFTP v3, blocks of 8 KiB one by one, no renaming, exit status 0."""
    machine = host("sle15")
    with Sftp3(machine) as session:
        assert session.version == 3
        assert not session.exists(directory)
        session.make_directories(directory)
        assert session.exists(directory)
        for name, content in KDUMPTOOL_FILES.items():
            session.put(f"{directory}/{name}", content or sample.stream.read_bytes())
    assert session.exit_status == 0
    whole(machine, "suse-kdumptool", *BESIDE)


def test_two_hosts_of_one_minute_do_not_meet(host: Host, sample: Sample) -> None:
    """Before 0.9.0 a directory had no host's name: each host's dump is one of its own all the same."""
    directory = "/dump/2012-06-02-11:23"
    machines = [host("sle11"), host("sle11")]
    for machine in machines:
        with Sftp3(machine) as session:
            session.make_directories(directory)
            session.put(f"{directory}/vmcore", sample.stream.read_bytes(), block=1 << 15)
    assert [machine.dump()["verdict"] for machine in machines] == ["complete", "complete"]
    assert machines[0].directory() != machines[1].directory()


@pytest.fixture(scope="module")
def parts(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample as `makedumpfile --split` writes it to two files; all its pages fit into the first."""
    directory = tmp_path_factory.mktemp("split")
    split = [directory / "vmcore1", directory / "vmcore2"]
    command = ["makedumpfile", "--split", "-c", "-d", "31", str(sample.rearranged), *map(str, split)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return split


def send_parts(machine: Machine, *parts: Path) -> None:
    """KDUMPTOOL_FLAGS=SPLIT."""
    machine.sh(f"ssh -l kdump collector 'mkdir -p {OLD}'")
    for part in parts:
        line = f"dd of={OLD}/{part.name}-incomplete && mv {OLD}/{part.name}-incomplete {OLD}/{part.name}"
        machine.sh(f"ssh -l kdump collector '{line}' < $PART", PART=part)


def test_a_split_dump_can_be_put_together(
    host: Host, sample: Sample, parts: list[Path], tmp_path: Path
) -> None:
    """The parts keep their numbers, are judged as one, and makedumpfile joins them."""
    machine = host("sle12")
    send_parts(machine, *parts)
    stored = sorted(machine.directory().glob("vmcore*"))
    assert [path.name for path in stored] == ["vmcore1", "vmcore2"]
    joined = tmp_path / "joined"
    join = ["makedumpfile", "--reassemble", *map(str, stored), str(joined)]
    subprocess.run(join, check=True, capture_output=True, timeout=60)
    assert osrelease(joined) == sample.osrelease
    assert machine.dump()["verdict"] == "complete"


def test_a_split_dump_without_one_of_its_parts_is_truncated(host: Host, parts: list[Path]) -> None:
    """Every file that came is whole, and the dump is not; the missing part makes it so."""
    machine = host("sle12")
    send_parts(machine, parts[1])
    (only,) = machine.dump()["files"]
    assert (only["name"], only["verdict"]) == ("vmcore2", "complete")
    assert machine.dump()["verdict"] == "truncated"
    assert "are in no part" in machine.dump()["reason"]
    send_parts(machine, parts[0])
    assert machine.dump()["verdict"] == "complete"


@pytest.mark.parametrize(
    "umask", [pytest.param("", id="1.9 to 2.0.16"), pytest.param("umask 077; ", id="2.0.17 on")]
)
def test_kdump_save_sends_by_ssh(host: Host, sample: Sample, whole: Whole, umask: str) -> None:
    """Four uploads, each from a FIFO and on a connection of its own; the last README counts."""
    machine = host("sle15sp6")
    for name, content in (
        ("README.txt", b"This dump is likely incomplete.\n"),
        ("dmesg", b"panic\n"),
        ("vmcore", sample.stream.read_bytes()),
        ("README.txt", b"vmcore status: saved successfully\n"),
    ):
        (machine.home / "content").write_bytes(content)
        machine.sh(
            f"""
            mkfifo fifo && cat content > fifo &
            until [ -p fifo ]; do :; done
            ssh ssh://kdump@collector:$PORT "{umask}mkdir -p {NEW} && cat > {NEW}/{name}" < fifo || exit 1
            rm fifo
            """,
            PORT=machine.receiver.port,
        )
    whole(machine, "suse-kdump-save", "dmesg", "README.txt", "README.txt.1")
    assert (machine.directory() / "README.txt").read_text() == "vmcore status: saved successfully\n"
    assert (machine.directory() / "README.txt.1").read_text() == "This dump is likely incomplete.\n"


def lftp(machine: Machine, *commands: str) -> subprocess.CompletedProcess[str]:
    """`lftp -c`, as kdump-save runs it; ssh's settings come from the machine."""
    settings = [
        f'set sftp:connect-program "ssh -a -x -F {machine.config}"',
        "set net:timeout 30",
        "set net:max-retries 2",
        f"open --env-password sftp://kdump@collector:{machine.receiver.port} || exit 1",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(machine.home), "LC_ALL": "C"}
    command = ["lftp", "-c", "; ".join([*settings, *commands])]
    return subprocess.run(
        command, env=environment, cwd=machine.home, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(shutil.which("lftp") is None, reason="lftp is not installed")
def test_kdump_save_sends_by_lftp(host: Host, sample: Sample, whole: Whole) -> None:
    """sftp:// of kdump-save: SFTP v6, a MKDIR for every ancestor, sixteen writes under way, from a FIFO."""
    machine = host("slfo")
    for name, content in (
        ("README.txt", b"This dump is likely incomplete.\n"),
        ("dmesg", b"panic\n"),
        ("vmcore", sample.stream.read_bytes()),
        ("README.txt", b"vmcore status: saved successfully\n"),
    ):
        (machine.home / "content").write_bytes(content)
        os.mkfifo(machine.home / "fifo")
        feeding = subprocess.Popen(["sh", "-c", "cat content > fifo"], cwd=machine.home)
        done = lftp(machine, f"mkdir -pf {NEW}", f"chmod 700 {NEW}", f"put fifo -o {NEW}/{name}")
        feeding.wait(60)
        (machine.home / "fifo").unlink()
        assert done.returncode == 0, done.stderr
    whole(machine, "suse-lftp", "dmesg", "README.txt", "README.txt.1")
    assert (machine.directory() / "README.txt").read_text() == "vmcore status: saved successfully\n"
    assert stat.S_IMODE((machine.directory() / "vmcore").stat().st_mode) == 0o600
