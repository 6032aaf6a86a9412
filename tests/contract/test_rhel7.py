"""RHEL7: `kdumpctl start`, mkdumprd, and dracut's kdump.sh in the capture kernel.

Source: kexec-tools 2.0.15-33.el7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.machine import Machine
from tests.rig.sample import Sample

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

OPT = "-i $KEY -o BatchMode=yes -o StrictHostKeyChecking=yes"


def capture(directory: str, *, collector: str = "cat $STREAM") -> str:
    """What the capture kernel runs."""
    return f"""
        ssh -q {OPT} $T mkdir -p {directory} || exit 1
        echo panic | ssh {OPT} $T "dd of={directory}/vmcore-dmesg-incomplete.txt" || exit 2
        ssh -q {OPT} $T mv {directory}/vmcore-dmesg-incomplete.txt {directory}/vmcore-dmesg.txt || exit 3
        {collector} | ssh {OPT} $T "dd bs=512 of={directory}/vmcore-incomplete" || exit 4
        ssh {OPT} $T "mv {directory}/vmcore-incomplete {directory}/vmcore.flat" || exit 5
    """


@pytest.mark.parametrize("path", ["/var/crash", "/var/crash/", "crash/here"])
def test_the_initrd_is_built(host: Host, path: str) -> None:
    """df before mkdir; all of df's output on one line ends: available, capacity, mount point."""
    done = host("el7").sh(
        f"""
        ssh -q -i $KEY -o BatchMode=yes $T mkdir -p {path} || exit 1
        df=$(ssh -q -n {OPT} $T "df -P {path}") || exit 2
        ssh -qn {OPT} $T mkdir -p {path} || exit 3
        dir=$(ssh -qn {OPT} $T mktemp -dqp {path}) || exit 4
        ssh -qn {OPT} $T rmdir $dir || exit 5
        echo $df | awk '{{ print $(NF-2), $(NF-1), $NF }}'
        """
    )
    free, capacity, mount = done.stdout.split()
    assert int(free) > 0
    assert capacity.endswith("%")
    assert mount.startswith("/")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("10.0.1.7-2020-04-02-11:22:33", id="RHEL7"),
        pytest.param("10.0.1.7-2014.04.02-11:22:33", id="Fedora 18 to 21"),
        pytest.param("02.04.12-11:22:33", id="Fedora 17, no host"),
        pytest.param("fe80::5054:ff:fe12:3456-2020-04-02-11:22:33", id="IPv6"),
    ],
)
def test_log_and_core_arrive(host: Host, sample: Sample, whole: Whole, name: str) -> None:
    """`dd bs=512`, whatever the directory's name was made of; the directory keeps the name."""
    machine = host("el7")
    done = machine.sh(capture(f"/var/crash/{name}"), STREAM=sample.stream)
    whole(machine, "rhel7", "vmcore-dmesg.txt")
    assert machine.directory().name.partition("@")[0] == name
    assert f"{sample.stream.stat().st_size} bytes" in done.stderr  # dd's three lines go to the console


def test_the_core_arrives_by_scp(host: Host, sample: Sample, whole: Whole) -> None:
    """core_collector scp: OpenSSH 7.4 speaks the old protocol, and the name is `vmcore`."""
    machine, d = host("el7"), "/var/crash/10.0.1.7-2020-04-02-11:22:34"
    machine.sh(
        f"""
        ssh -q {OPT} $T mkdir -p {d} || exit 1
        echo panic | ssh {OPT} $T "dd of={d}/vmcore-dmesg-incomplete.txt" || exit 2
        ssh -q {OPT} $T mv {d}/vmcore-dmesg-incomplete.txt {d}/vmcore-dmesg.txt || exit 3
        scp -O -q {OPT} $CORE "$T:{d}/vmcore-incomplete" || exit 4
        ssh {OPT} $T "mv {d}/vmcore-incomplete {d}/vmcore" || exit 5
        """,
        CORE=sample.rearranged,
    )
    whole(machine, "rhel7", "vmcore-dmesg.txt")


def test_a_collector_that_dies_is_told_from_one_that_finished(host: Host, sample: Sample) -> None:
    """A POSIX sh forgets makedumpfile's status and renames half a stream; its bytes say truncated."""
    machine, d = host("el7"), "/var/crash/10.0.1.7-2020-04-02-11:22:35"
    machine.sh("set +o pipefail\n" + capture(d, collector="head -c 3000000 $STREAM"), STREAM=sample.stream)
    dump = machine.dump()
    assert dump["verdict"] == "truncated"
    assert {file["name"] for file in dump["files"]} == {"vmcore.incomplete", "vmcore-dmesg.txt"}


def test_the_console_tells_of_a_directory_that_is_a_file(host: Host) -> None:
    """What cannot be done fails as mkdir does: status 1, one line, and kdump.sh gives up."""
    machine = host("el7")
    machine.ssh("dd of=/var/crash/x/y", stdin=b"text", check=True)
    done = machine.ssh("mkdir -p /var/crash/x/y")
    assert done.returncode == 1
    assert done.stderr == b"mkdir: cannot create directory '/var/crash/x/y': File exists\n"
