"""One life of a guest: prepared, started, crashed, and what it left behind read back."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import CACHE, Run, boot, fetch_kernel, lacking
from tests.e2e.prebuilt import prebuild
from tests.e2e.server import Receiver, Sshd

CRASHES = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(lacking()), reason=f"for want of {', '.join(lacking())}"),
]
REPO = Path(__file__).parent.parent.parent
KDUMP = Path(sys.executable).parent / "kdump"

ADDRESS = "ip addr add 10.0.2.15/24 dev"
NETWORK = {
    "ipv4": f"ip link set enp0s2 up; {ADDRESS} enp0s2",
    "ipv6": "ip link set enp0s2 up; ip -6 addr add fec0::15/64 dev enp0s2 nodad",
    # what a lease looks like
    "dhcp": f"ip link set enp0s2 up; {ADDRESS} enp0s2 valid_lft 86400 preferred_lft 86400",
    "bond": "modprobe bonding max_bonds=0; ip link add bond0 type bond mode active-backup miimon 100;"
    f" ip link set enp0s2 master bond0; ip link set bond0 up; {ADDRESS} bond0",
    "bridge": "ip link add bridge0 type bridge; ip link set enp0s2 master bridge0;"
    f" ip link set enp0s2 up; ip link set bridge0 up; {ADDRESS} bridge0",
}
PREPARE = """
eval "$NETWORK"
if [ "$FAMILY" = 6 ]; then ip -6 route add default via fec0::2; else ip route add default via 10.0.2.2; fi
install -m 600 $stage/id /root/.ssh/kdump_id_ed25519
echo "$KNOWN" > /root/.ssh/known_hosts
cp $stage/kdump.conf /etc/kdump.conf
mkdir -p /var/lib/kdump /opt/kdump
cp -a $stage/scripts/. /opt/kdump/ 2>/dev/null
cp -a $IMAGES/. /var/lib/kdump/ 2>/dev/null
"""
START = """
$KDUMP start; mark "start $?"
mkdir -p $IMAGES; cp -a /var/lib/kdump/base-* /var/lib/kdump/stamp-* $IMAGES/
ls -l /var/lib/kdump
sync
grep -q 1 /sys/kernel/kexec_crash_loaded || return
mark crash
echo c > /proc/sysrq-trigger
"""


UNREACHABLE = "ssh root@10.0.2.2:1\npath /var/crash\nnet_timeout 10\n"
DISK_DRIVERS = "extra_modules virtio_blk ext4\n"
KNOWN_AT_PORT_1 = PREPARE.replace('echo "$KNOWN"', 'echo "${KNOWN/]:*ssh/]:1 ssh}"')


def guest(
    tmp_path: Path,
    server: Sshd | Receiver,
    conf: str,
    script: str = PREPARE + START,
    *,
    scripts: dict[str, str] | None = None,
    network: str = "ipv4",
    disks: Sequence[Path] = (),
    seconds: float = 600,
    life: int = 1,
    until: str = "",
    memory: int = 768,
    reserve: str = "192M",
    image: str = "",
    built_here: bool = True,
    **more: Any,
) -> Run:
    """One life of the guest with this kdump.conf; ``{port}`` and ``{dumps}`` stand for the server's.

    ``built_here`` has dracut run on this machine, for a guest whose devices do not matter to it.
    """
    stage = Path("/var/tmp") / f"kdump-net-e2e-stage-{tmp_path.name}-{life}"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "scripts").mkdir(parents=True)
    for name, text in (scripts or {}).items():
        (stage / "scripts" / name).write_text(text)
        (stage / "scripts" / name).chmod(0o755)
    text = conf.replace("{port}", str(server.port)).replace("{dumps}", str(getattr(server, "dumps", "")))
    (stage / "kdump.conf").write_text(text)
    shutil.copy(server.key, stage / "id")
    # images are kept by what makes dracut's part differ, which the port and the directory do not
    name = image or hashlib.sha256(f"{conf}{network}".encode()).hexdigest()[:12]
    known = server.host_key_line
    environment = {
        "KDUMP": f"env PYTHONPATH={REPO} {KDUMP}",
        "KNOWN": known.replace("10.0.2.2", "fec0::2") if network == "ipv6" else known,
        "FAMILY": "6" if network == "ipv6" else "4",
        "NETWORK": NETWORK[network],
        "IMAGES": str(stage / "images"),
    }
    kept = CACHE / "images" / name
    if kept.exists():
        shutil.copytree(kept, stage / "images", dirs_exist_ok=True)
    if built_here and (not disks or "virtio_blk" in conf):
        prebuild(stage, fetch_kernel(), network)
    try:
        return boot(
            stage,
            script,
            environment=environment,
            disks=disks,
            seconds=seconds,
            until=until,
            memory=memory,
            reserve=reserve,
            **more,
        )
    finally:
        if (stage / "images").exists():
            shutil.copytree(stage / "images", kept, dirs_exist_ok=True)
        (CACHE / "last").mkdir(parents=True, exist_ok=True)
        shutil.copy(stage / "console.log", CACHE / "last" / f"{tmp_path.name}-{life}.log")
        shutil.rmtree(stage)


def blank_disk(path: Path, megabytes: int, *, uuid: str = "") -> Path:
    """A sparse disk image, with an ext4 on it where a UUID is given."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    if uuid:
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-U", uuid, str(path)], check=True)
    return path


def head(path: Path) -> bytes:
    """The first bytes."""
    with path.open("rb") as file:
        return file.read(12)


def from_disk(disk: Path, name: str, to: Path) -> list[Path]:
    """The files matching a debugfs path of an ext4 image, copied out."""
    to.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump {name} {to}", str(disk)], check=True, capture_output=True)
    return sorted(path for path in to.rglob("*") if path.is_file())


def assert_flattened_whole(path: Path, tmp_path: Path) -> None:
    """makedumpfile itself can put it together, and the panic is in it."""
    whole = tmp_path / "vmcore.whole"
    with path.open("rb") as file:
        subprocess.run(
            ["makedumpfile", "-R", str(whole)], stdin=file, check=True, capture_output=True, timeout=120
        )
    assert_vmcore_whole(whole, tmp_path)


def assert_vmcore_whole(path: Path, tmp_path: Path) -> None:
    """The crashed kernel's log is read out of the dump's own memory image."""
    log = tmp_path / "dmesg.whole"
    log.unlink(missing_ok=True)
    subprocess.run(
        ["makedumpfile", "--dump-dmesg", str(path), str(log)], check=True, capture_output=True, timeout=120
    )
    assert "Kernel panic - not syncing: sysrq triggered crash" in log.read_text(errors="replace")


def assert_rebooted(run: Run) -> None:
    assert "Restarting system" in run.text, run.text[-3000:]
