"""Debian's real kdump-config, unmodified, from the installed kdump-tools package.

It finds /proc/vmcore, root's keys and /etc/default/kdump-tools in a mount namespace of its own
(tests/rig/in_capture_root.sh); makedumpfile reads and writes a real core, ssh and scp are the system's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.machine import Machine
from tests.rig.receiver import Receiver
from tests.rig.sample import Sample

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

ENTER = Path(__file__).parents[1] / "rig" / "in_capture_root.sh"
UNSHARE = ("unshare", "--mount", "--propagation", "private")


def why_not() -> str:
    """What is missing to run kdump-config here; empty when nothing is."""
    if not Path("/usr/sbin/kdump-config").exists():
        return "kdump-tools is not installed"
    possible = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "none", "/var"], capture_output=True, timeout=30
    )
    return "" if possible.returncode == 0 else "mount namespaces need root"


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def kdump_config(
    machine: Machine, verb: str, *, vmcore: Path | None = None, password: str = "", **defaults: str
) -> subprocess.CompletedProcess[str]:
    """`kdump-config VERB` as root of the crashed machine; `password` is typed at the terminal."""
    home = machine.home / "root"
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    shutil.copy(machine.home / "known_hosts", home / ".ssh" / "known_hosts")
    (home / ".ssh" / "config").write_text(
        f"Host collector\n    HostName 127.0.0.1\n    Port {machine.receiver.port}\n"
        "    HostKeyAlias collector\n    StrictHostKeyChecking yes\n"
    )
    settings = {"USE_KDUMP": "1", "SSH": machine.target, "SSH_KDUMP_RETRY": "1"} | defaults
    text = "".join(f'{key}="{value}"\n' for key, value in settings.items())
    (machine.home / "kdump-tools").write_text(text)
    typed = ["sshpass", "-e"] if password else []
    command = [
        *(*typed, *UNSHARE, str(ENTER), str(home), str(machine.home / "kdump-tools")),
        *([str(vmcore)] if vmcore else []),
        *("--", "/usr/sbin/kdump-config", verb),
    ]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/root", "SSHPASS": password}
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def with_key(machine: Machine) -> str:
    """Put the machine's enrolled key into root's home; the path kdump-config knows it by."""
    (machine.home / "root/.ssh").mkdir(parents=True)
    shutil.copy(machine.key, machine.home / "root/.ssh/kdump_id")
    return "/root/.ssh/kdump_id"


@pytest.mark.parametrize("compression", ["", "gzip", "lz4"])
def test_savecore(host: Host, sample: Sample, whole: Whole, compression: str) -> None:
    """The log by scp, makedumpfile's stream by `dd`, whatever KDUMP_COMPRESSION says; then the final name."""
    machine = host("debian")
    key = with_key(machine)
    done = kdump_config(
        machine, "savecore", vmcore=sample.rearranged, SSH_KEY=key, KDUMP_COMPRESSION=compression
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dump = machine.dump()
    log, core = dump["files"]
    stamp = log["name"].removeprefix("dmesg.")
    extension = {"": "", "gzip": ".gz", "lz4": ".lz4"}[compression]
    assert core["requested"] == [f"dump-incomplete{extension}", f"dump.{stamp}{extension}"]
    assert (core["kind"], core["wrapper"]) == ("flattened", compression or None)
    assert f"Linux version {sample.osrelease}" in (machine.directory() / log["name"]).read_text()
    # This makedumpfile makes of the rearranged core the stream that it was made of.
    whole(machine, "debian", log["name"])


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Receiver]:
    """A server that tells a client that its core did not arrive whole."""
    with Receiver(tmp_path, settings="truncated_status = 1") as receiver:
        yield receiver


def test_savecore_sends_the_raw_core_when_makedumpfile_fails(
    strict: Receiver, sample: Sample, tmp_path: Path
) -> None:
    """kdump-config looks at ssh's status alone; by `truncated_status` it learns that a stream broke off."""
    broken = tmp_path / "broken"
    broken.write_bytes(sample.rearranged.read_bytes()[:9000])  # makedumpfile gives up on it
    machine = Machine.enrolled(strict, "debian")
    done = kdump_config(machine, "savecore", vmcore=broken, SSH_KEY=with_key(machine))
    assert "falling back to 'scp'" in done.stdout + done.stderr
    (stream, raw) = machine.dump()["files"]
    assert (stream["verdict"], stream["bytes"]) == ("truncated", 0)
    assert (raw["requested"][0], raw["bytes"], raw["tool"]) == ("vmcore-incomplete", 9000, "sftp")
    assert (machine.directory() / raw["name"]).read_bytes() == broken.read_bytes()


def test_savecore_gives_up_where_its_key_is_unknown(collector: Receiver, sample: Sample) -> None:
    """Nothing is stored for a stranger, and kdump-config says so (its exit status is 0 all the same)."""
    machine = Machine.stranger(collector, "debian-stranger")
    done = kdump_config(machine, "savecore", vmcore=sample.rearranged, SSH_KEY=with_key(machine))
    assert "Unable to reach remote server" in done.stdout + done.stderr
    assert machine.dumps() == []


def test_propagate_then_savecore(collector: Receiver, sample: Sample, whole: Whole) -> None:
    """It makes an RSA key, ssh-copy-id brings it with the token as password, and the dump follows."""
    token = collector.cli("token", "create", "--host", "debian-new").stdout.split()[0]
    machine = Machine.stranger(collector, "debian-new")
    key = "/root/.ssh/kdump_id_rsa"
    done = kdump_config(machine, "propagate", password=token, SSH_KEY=key)
    assert f"propagated ssh key {key} to server kdump@collector" in done.stdout, done.stdout + done.stderr
    done = kdump_config(machine, "savecore", vmcore=sample.rearranged, SSH_KEY=key)
    assert done.returncode == 0, done.stdout + done.stderr
    whole(machine, "debian", machine.dump()["files"][0]["name"])
