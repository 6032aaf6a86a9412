"""RHEL5 and RHEL6: `service kdump start`, and the generated /init of their capture kernels.

Sources: kexec-tools of Fedora Core 7 (RHEL5), 2.0.0-145.el6 and 2.0.0-310.el6, mkdumprd.
Their ssh knows ssh-rsa keys and SHA-1 only, so the system's ssh is held to the lists of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.machine import EL5, EL6, Machine
from tests.rig.sample import Sample

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

D = "/var/crash/10.0.1.7-2013-04-02-11:22:33"
S_OPTS = "-i $KEY -o BatchMode=yes"

BUILD = f"""
    ssh -q {S_OPTS} $T mkdir -p /var/crash </dev/null || exit 1
    tdir=$(ssh -q {S_OPTS} $T mktemp -dqp /var/crash </dev/null) || exit 2
    remote_df=$(ssh -q {S_OPTS} $T df -P $tdir | tail -1) || exit 3
    ssh -q {S_OPTS} $T rmdir $tdir || exit 4
    echo "$tdir" "$(echo "$remote_df" | tr -s ' ' '|' | cut -d'|' -f4)"
"""


@pytest.fixture(scope="module")
def el6(host: Host) -> Machine:
    """A RHEL6 host for what leaves no dump."""
    return host("el6", "rsa", EL6)


def test_the_initrd_is_built(el6: Machine) -> None:
    """mkdumprd's write test passes, and the free space it reads is the spool's, in KiB."""
    directory, free = el6.sh(BUILD).stdout.split()
    assert directory.startswith("/var/crash/tmp.")
    assert int(free) > 0
    assert el6.dumps() == []


def test_the_write_test_leaves_nothing(el6: Machine) -> None:
    """What `mktemp` made is there for `df`, and `rmdir` takes it away for good."""
    script = BUILD + f"ssh -q {S_OPTS} $T rmdir $tdir"
    assert el6.sh(script, check=False).returncode == 1


def test_rhel6_sends_log_and_core(host: Host, sample: Sample, whole: Whole) -> None:
    """2.0.0-310: a plain mkdir, the log first, double slashes, `dd`, then the name `vmcore.flat`."""
    machine = host("el6", "rsa", EL6)
    machine.sh(
        f"""
        ssh -q {S_OPTS} $T mkdir {D}
        echo panic | ssh {S_OPTS} $T "dd of={D}//vmcore-dmesg-incomplete.txt" || exit 1
        ssh -q {S_OPTS} $T mv {D}//vmcore-dmesg-incomplete.txt {D}//vmcore-dmesg.txt || exit 2
        cat $STREAM | ssh {S_OPTS} $T "dd of={D}/vmcore-incomplete" || exit 3
        ssh -q {S_OPTS} $T mv {D}/vmcore-incomplete {D}/vmcore.flat || exit 4
        """,
        STREAM=sample.stream,
    )
    dump = whole(machine, "rhel6", "vmcore-dmesg.txt")
    assert (machine.directory() / "vmcore-dmesg.txt").read_text() == "panic\n"
    assert dump["files"][1]["requested"] == ["vmcore-incomplete", "vmcore.flat"]


def test_rhel6_sends_by_scp_and_watches(host: Host, sample: Sample, whole: Whole) -> None:
    """core_collector scp: the fifth field of `ls -l` is the size of the growing file, as /init reads it."""
    machine = host("el6", "rsa", EL6)
    done = machine.sh(
        f"""
        ssh -q {S_OPTS} $T mkdir {D}
        scp -O -l 25000 -q {S_OPTS} $CORE $T:{D}/vmcore-incomplete & sending=$!
        for _ in $(seq 100); do
            size=$(ssh -q {S_OPTS} $T ls -l {D}/vmcore-incomplete 2>/dev/null | tr -s ' ' | cut -d' ' -f5)
            [ "${{size:-0}}" -gt 0 ] && break
        done
        wait $sending || exit 1
        ssh -q {S_OPTS} $T mv {D}/vmcore-incomplete {D}/vmcore || exit 2
        echo $size
        """,
        CORE=sample.rearranged,
    )
    assert 0 < int(done.stdout) < sample.rearranged.stat().st_size
    whole(machine, "rhel6|rhel6.0|rhel5")


def test_rhel6_0_sends_with_cat(host: Host, sample: Sample, whole: Whole) -> None:
    """2.0.0-145: `cat >` and no log."""
    machine = host("el6.0", "rsa", EL6)
    machine.sh(
        f"""
        ssh -q -o BatchMode=yes $T mkdir {D}
        cat $STREAM | ssh -q -o BatchMode=yes $T "cat > {D}/vmcore-incomplete" || exit 1
        ssh -q -o BatchMode=yes $T mv {D}/vmcore-incomplete {D}/vmcore.flat || exit 2
        """,
        STREAM=sample.stream,
    )
    whole(machine, "rhel6.0")


def test_rhel6_0_calls_a_plain_core_flat(host: Host, sample: Sample, whole: Whole) -> None:
    """2.0.0-145 says `vmcore.flat` of any core_collector's output: the name proves nothing, the bytes do."""
    machine = host("el6.0", "rsa", EL6)
    machine.sh(
        f"""
        ssh -q -o BatchMode=yes $T mkdir {D}
        scp -O -q -o BatchMode=yes $CORE $T:{D}/vmcore-incomplete || exit 1
        ssh -q -o BatchMode=yes $T mv {D}/vmcore-incomplete {D}/vmcore.flat || exit 2
        """,
        CORE=sample.rearranged,
    )
    dump = whole(machine, "rhel6|rhel6.0")
    assert dump["files"][0]["kind"] == "kdump"


def test_rhel5_sends_by_scp(host: Host, sample: Sample, whole: Whole) -> None:
    """RHEL5: three commands, the old scp, and no log."""
    machine = host("el5", "rsa", EL5)
    machine.sh(
        f"""
        ssh -q -o BatchMode=yes -o StrictHostKeyChecking=no $T mkdir {D}
        scp -O -q -o BatchMode=yes -o StrictHostKeyChecking=no $CORE $T:{D}/vmcore-incomplete || exit 1
        ssh -q -o BatchMode=yes -o StrictHostKeyChecking=no $T mv {D}/vmcore-incomplete {D}/vmcore || exit 2
        """,
        CORE=sample.rearranged,
    )
    whole(machine, "rhel6|rhel6.0|rhel5")


def test_a_second_crash_in_one_second_is_kept_beside_the_first(host: Host, sample: Sample) -> None:
    """/init does not look at mkdir's failure; neither core replaces the other."""
    machine = host("el6.0", "rsa", EL6)
    script = f"""
        ssh -q -o BatchMode=yes $T mkdir {D}
        cat $STREAM | ssh -q -o BatchMode=yes $T "cat > {D}/vmcore-incomplete" || exit 1
        ssh -q -o BatchMode=yes $T mv {D}/vmcore-incomplete {D}/vmcore.flat || exit 2
    """
    machine.sh(script, STREAM=sample.stream)
    machine.sh(script, STREAM=sample.stream)
    names = sorted(file["name"] for file in machine.dump()["files"])
    assert names == ["vmcore", "vmcore.1"]
