"""kdump-utils and the kexec-tools of Fedora since 2019, RHEL8 to RHEL10: kdumpctl and kdump.sh.

Sources: kexec-tools 2.0.20 to 2.0.29, kdump-utils to 1.0.61. A variant is named by its first release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.machine import Machine
from tests.rig.receiver import Receiver
from tests.rig.sample import Sample

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

OPTS = "-i $KEY -o BatchMode=yes -o StrictHostKeyChecking=yes"
D = "/var/crash/10.0.1.7-2024-04-02-11:22:33"


def capture(d: str, *, umask: str = "umask 0077 && ", quote: str = "'") -> str:
    """What the capture kernel runs, without its last step."""

    def q(text: str) -> str:
        return f"{quote}{text}{quote}"

    return f"""
        ssh -q {OPTS} $T mkdir -p {d} || exit 1
        echo panic | ssh {OPTS} $T "{umask}dd of={q(f"{d}/vmcore-dmesg-incomplete.txt")}" || exit 2
        ssh -q {OPTS} $T mv {d}/vmcore-dmesg-incomplete.txt {d}/vmcore-dmesg.txt || exit 3
        cat $STREAM | ssh {OPTS} $T "{umask}dd bs=512 of={q(f"{d}/vmcore-incomplete")}" || exit 4
        ssh {OPTS} $T "mv {q(f"{d}/vmcore-incomplete")} {q(f"{d}/vmcore.flat")}" || exit 5
    """


def log(d: str, target: str = "$T") -> str:
    """The log of the capture kernel itself, sent at the very end; its failure is not looked at."""
    return f"""
        echo kexec > kexec-dmesg.log
        scp $SCP -q {OPTS} kexec-dmesg.log "{target}:{d}/" || exit 6
    """


def test_the_service_starts_and_builds(host: Host) -> None:
    """kdumpctl's first mkdir, mkdumprd's write test, and the free KiB in the last line of df."""
    done = host("ku").sh(
        f"""
        errmsg=$(ssh -i $KEY -o BatchMode=yes $T mkdir -p /var/crash 2>&1) || exit 1
        [ -z "$errmsg" ] || exit 2
        ssh -q -n {OPTS} $T mkdir -p /var/crash || exit 3
        dir=$(ssh -q -n {OPTS} $T mktemp -dqp /var/crash) || exit 4
        ssh -q -n {OPTS} $T rmdir $dir || exit 5
        ssh -q -n {OPTS} $T df --output=avail /var/crash | tail -n 1
        """
    )
    assert int(done.stdout) > 0


@pytest.mark.parametrize(
    ("umask", "quote", "scp"),
    [
        pytest.param("", "", "-O", id="2.0.20-19, 2020-10"),
        pytest.param("umask 0077 && ", "", "-O", id="2.0.21-6, 2021-03"),
        pytest.param("umask 0077 && ", "'", "-O", id="2.0.22-7, 2021-08"),
        pytest.param("umask 0077 && ", "'", "-s", id="RHEL9 on, scp by SFTP"),
    ],
)
def test_log_core_and_the_capture_kernels_log_arrive(
    host: Host, sample: Sample, whole: Whole, umask: str, quote: str, scp: str
) -> None:
    """Each way the text was written since 2020, and the log by either scp into `D/`."""
    machine = host("ku")
    script = capture(D, umask=umask, quote=quote) + log(D)
    machine.sh(script, STREAM=sample.stream, SCP=scp)
    dump = whole(machine, "kdump-utils", "vmcore-dmesg.txt", "kexec-dmesg.log")
    assert (machine.directory() / "kexec-dmesg.log").read_text() == "kexec\n"
    assert dump["requested"] == D


def test_a_host_behind_ipv6(host: Host, sample: Sample, whole: Whole) -> None:
    """Colons in the directory's name, and scp's target in brackets."""
    machine, d = host("ku"), "/var/crash/fd00::5054:ff:fe12:3456-2024-04-02-11:22:33"
    script = capture(d) + log(d, "kdump@[fd00::1]")
    machine.sh(script, STREAM=sample.stream, SCP="-s")
    whole(machine, "kdump-utils", "vmcore-dmesg.txt", "kexec-dmesg.log")


@pytest.mark.parametrize("scp", ["-O", "-s"])
def test_the_core_arrives_by_scp(host: Host, sample: Sample, whole: Whole, scp: str) -> None:
    """core_collector scp, by either protocol: exit 0 after a good upload, and the core is `vmcore`."""
    machine = host("ku")
    machine.sh(
        f"""
        ssh -q {OPTS} $T mkdir -p {D} || exit 1
        echo panic | ssh {OPTS} $T "umask 0077 && dd of='{D}/vmcore-dmesg-incomplete.txt'" || exit 2
        ssh -q {OPTS} $T mv {D}/vmcore-dmesg-incomplete.txt {D}/vmcore-dmesg.txt || exit 3
        scp $SCP -q {OPTS} $CORE "$T:{D}/vmcore-incomplete" || exit 4
        ssh {OPTS} $T "mv '{D}/vmcore-incomplete' '{D}/vmcore'" || exit 5
        {log(D)}
        """,
        CORE=sample.rearranged,
        SCP=scp,
    )
    whole(machine, "kdump-utils", "vmcore-dmesg.txt", "kexec-dmesg.log")


def test_powernv_sends_the_firmware_core_too(host: Host, sample: Sample, whole: Whole) -> None:
    """opalcore lies beside vmcore and is not taken for it."""
    machine = host("ku")
    opal = f"""
        scp -O {OPTS} $CORE $T:{D}/opalcore-incomplete || exit 7
        ssh {OPTS} $T mv {D}/opalcore-incomplete {D}/opalcore || exit 8
    """
    machine.sh(opal + capture(D) + log(D), STREAM=sample.stream, CORE=sample.rearranged, SCP="-s")
    whole(machine, "kdump-utils", "vmcore-dmesg.txt", "kexec-dmesg.log", "opalcore")


def test_the_log_of_a_failed_dump_arrives(host: Host, sample: Sample) -> None:
    """Since 2.0.20-21 the log is sent when the dump failed, too: it lies beside the half core."""
    machine = host("ku")
    script = capture(D).replace("cat $STREAM", "{ head -c 2000000 $STREAM; false; }")
    failing = script[: script.index("|| exit 4")] + "&& exit 4"
    machine.sh(failing + log(D), STREAM=sample.stream, SCP="-s")
    dump = machine.dump()
    assert dump["verdict"] == "truncated"
    assert {file["name"] for file in dump["files"]} == {
        "vmcore-dmesg.txt",
        "vmcore.incomplete",
        "kexec-dmesg.log",
    }


TEST_ID = "1767225600-123456789"
T_DIR = f"/var/crash/kdump-test-{TEST_ID}"
STATUS = f"{T_DIR}/vmcore-creation.status"
FETCH = f'scp $SCP -q -i $KEY -o BatchMode=yes "$T:{STATUS}" $HOME/'


@pytest.mark.parametrize("scp", ["-O", "-s"])
def test_kdumpctl_test_reads_its_result_back(host: Host, sample: Sample, whole: Whole, scp: str) -> None:
    """Since 1.0.51: `fail` before the dump, `success` after it; the next boot fetches the word by scp."""
    machine = host("ku")
    machine.sh(
        f"""
        ssh -q {OPTS} $T mkdir -p {T_DIR}
        ssh -q {OPTS} $T "echo fail kdump_test_id={TEST_ID} > {STATUS}" || exit 11
        {FETCH} || exit 12
        grep -q fail $HOME/vmcore-creation.status || exit 13
        {capture(T_DIR)} {log(T_DIR)}
        ssh -q {OPTS} $T mkdir -p {T_DIR}
        ssh -q {OPTS} $T "echo success kdump_test_id={TEST_ID} > {STATUS}" || exit 14
        {FETCH} || exit 15
        grep -q success $HOME/vmcore-creation.status || exit 16
        """,
        STREAM=sample.stream,
        SCP=scp,
    )
    assert (machine.home / "vmcore-creation.status").read_text() == f"success kdump_test_id={TEST_ID}\n"
    # Nothing stored is replaced: the first word stays beside the last one.
    whole(
        machine,
        "kdump-utils",
        "vmcore-dmesg.txt",
        "kexec-dmesg.log",
        "vmcore-creation.status",
        "vmcore-creation.status.1",
    )


@pytest.mark.parametrize("scp", ["-O", "-s"])
def test_kdumpctl_test_tells_a_missing_result_from_a_dead_network(host: Host, scp: str) -> None:
    """scp's status 1 means that the test failed; 255 would mean that nobody knows."""
    machine = host("ku")
    assert machine.sh(FETCH, check=False, SCP=scp).returncode == 1


def test_kdumpctl_test_fetches_nothing_from_a_stranger(collector: Receiver) -> None:
    """A key that is not enrolled ends in status 255, which kdumpctl calls `manual`."""
    stranger = Machine.stranger(collector, "stranger")
    assert stranger.sh(FETCH, check=False, SCP="-s").returncode == 255
