"""Real kernels crash, and what `kdump start` loaded brings their memory out.

Each test is one life of a guest, or two: it runs `kdump start`, panics by sysrq, and ends when the
capture kernel reboots. The server is a plain OpenSSH on loopback. A scenario's first run builds its
image in the guest with dracut (two minutes of software emulation), later ones find it in the cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import CACHE, Run, boot, fetch_kernel
from tests.e2e.prebuilt import prebuild
from tests.e2e.server import Receiver, Sshd, fence, nfs, receiver, sshd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
REPO = Path(__file__).parent.parent.parent
KDUMP = Path(sys.executable).parent / "kdump"
UUID = "03138356-5e61-4ab3-b58e-27507ac41937"

PREPARE = """
ip link set enp0s2 up
if [ "$FAMILY" = 6 ]; then
    ip -6 addr add fec0::15/64 dev enp0s2 nodad; ip -6 route add default via fec0::2
else
    ip addr add 10.0.2.15/24 dev enp0s2; ip route add default via 10.0.2.2
fi
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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    home = Path("/var/tmp") / f"kdump-net-e2e-{tmp_path.name}"
    with sshd(home) as running:
        yield running
    shutil.rmtree(home)


class Listener(threading.Thread):
    """Everything that came to a UDP port, with its time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard: list[tuple[float, bytes]] = []

    def run(self) -> None:
        while True:
            data = self.socket.recv(2048)
            if data == b"stop":
                return
            self.heard.append((time.time(), data))

    def __enter__(self) -> Listener:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"stop", ("127.0.0.1", self.port))
        self.join(10)
        self.socket.close()


def guest(
    tmp_path: Path,
    server: Sshd | Receiver,
    conf: str,
    script: str = PREPARE + START,
    *,
    scripts: dict[str, str] | None = None,
    family: int = 4,
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
    name = image or hashlib.sha256(f"{conf}{family}".encode()).hexdigest()[:12]
    known = server.host_key_line
    environment = {
        "KDUMP": f"env PYTHONPATH={REPO} {KDUMP}",
        "KNOWN": known if family == 4 else known.replace("10.0.2.2", "fec0::2"),
        "FAMILY": str(family),
        "IMAGES": str(stage / "images"),
    }
    kept = CACHE / "images" / name
    if kept.exists():
        shutil.copytree(kept, stage / "images", dirs_exist_ok=True)
    elif built_here and not disks and "kdump_p" not in conf:
        prebuild(stage, fetch_kernel(), family)
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


def test_a_crash_arrives_over_ssh_and_the_cluster_hears_of_it_first(tmp_path: Path, server: Sshd) -> None:
    """The main thing: `kdump start`, panic, fence message, log, core, own log, reboot."""
    with Listener() as cluster:
        conf = (
            "ssh root@10.0.2.2:{port}\npath {dumps}\nfence_kdump_nodes 10.0.2.2\n"
            f"fence_kdump_args -p {cluster.port} -i 1\n"
        )
        run = guest(tmp_path, server, conf, image="cluster")
    assert "@@ start 0" in run.text, run.text[-3000:]
    assert_rebooted(run)
    files = server.files()
    assert set(files) == {"vmcore.flat", "vmcore-dmesg.txt", "kexec-dmesg.log"}
    assert_flattened_whole(files["vmcore.flat"], tmp_path)
    assert "sysrq triggered crash" in files["vmcore-dmesg.txt"].read_text()
    assert "kdump: saving vmcore complete" in files["kexec-dmesg.log"].read_text()
    assert files["vmcore.flat"].parent.name.startswith("10.0.2.15-")
    assert files["vmcore.flat"].stat().st_mode & 0o077 == 0
    assert cluster.heard, "no fence_kdump message came"
    assert cluster.heard[0][1][:4] in (b"\x40\x2a\x30\x1b", b"\x1b\x30\x2a\x40")
    assert cluster.heard[0][0] < files["vmcore-dmesg.txt"].stat().st_mtime


def test_the_three_programs_meet(tmp_path: Path) -> None:
    """Sent by `kdump`, judged complete by `kdump-receiver`; `kdump-fence` heard dumping first, then saved."""
    with (
        receiver(tmp_path / "receiver", "crashnode1") as ours,
        fence(tmp_path / "fence", "crashnode1") as cluster,
    ):
        conf = "ssh kdump@10.0.2.2:{port}\npath /var/crash\nfence_kdump_nodes 10.0.2.2\n"
        conf += f"fence_kdump_args -p {cluster.port} -i 2\n"
        run = guest(tmp_path, ours, conf, image="three")
        assert_rebooted(run)
        (dump,) = ours.dumps()
        events = cluster.events()
    assert dump["verdict"] == "complete", run.text[-3000:]
    assert dump["host"] == "crashnode1"
    assert "sysrq triggered crash" in json.dumps(dump)
    assert events[:2] == ["node.dumping", "node.saved"], events


def test_scp_over_ipv6(tmp_path: Path, server: Sshd) -> None:
    """core_collector scp sends the raw ELF core; the address is IPv6 all the way."""
    conf = "ssh root@[fec0::2]:{port}\npath {dumps}\ncore_collector scp\n"
    run = guest(tmp_path, server, conf, family=6)
    assert_rebooted(run)
    files = server.files()
    assert set(files) >= {"vmcore", "vmcore-dmesg.txt"}, run.text[-3000:]
    assert files["vmcore"].read_bytes()[:4] == b"\x7fELF"
    assert_vmcore_whole(files["vmcore"], tmp_path)


def test_nfs(tmp_path: Path, server: Sshd) -> None:
    """Mounted from a user-space NFS server; a file of makedumpfile's own format, beside both logs."""
    home = Path("/var/tmp") / f"kdump-net-e2e-nfs-{tmp_path.name}"
    try:
        with nfs(home) as export:
            conf = "nfs 10.0.2.100:/export\npath /crash\n"
            run = guest(tmp_path, server, conf, netdev=export.netdev)
            assert_rebooted(run)
            files = {path.name: path for path in export.exported.rglob("*") if path.is_file()}
            assert set(files) == {"vmcore", "vmcore-dmesg.txt", "kexec-dmesg.log"}, run.text[-3000:]
            assert files["vmcore"].parent.name.startswith("10.0.2.15-")
            assert_vmcore_whole(files["vmcore"], tmp_path)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_elf_and_a_post_script_that_is_told_of_success(tmp_path: Path, server: Sshd) -> None:
    """-E through the pipe; kdump_post gets 0 and can still use the network and extra_bins."""
    conf = (
        "ssh root@10.0.2.2:{port}\npath {dumps}\ncore_collector makedumpfile -E -d 31\n"
        "kdump_post /opt/kdump/post.sh\nextra_bins hostname\n"
    )
    post = '#!/bin/sh\necho "@@ post got $1 at $(hostname)"\n'
    run = guest(tmp_path, server, conf, scripts={"post.sh": post})
    assert_rebooted(run)
    assert_flattened_whole(server.files()["vmcore.flat"], tmp_path)
    assert "@@ post got 0 at " in run.text


def test_a_pre_script_that_refuses_means_no_dump(tmp_path: Path, server: Sshd) -> None:
    """Non-zero: straight to the final action."""
    conf = "ssh root@10.0.2.2:{port}\npath {dumps}\nkdump_pre /opt/kdump/pre.sh\nfinal_action poweroff\n"
    run = guest(tmp_path, server, conf, scripts={"pre.sh": "#!/bin/sh\necho @@ pre says no\nexit 3\n"})
    assert "@@ pre says no" in run.text
    assert "Power down" in run.text, run.text[-2000:]
    assert server.files() == {}


def test_ext4_by_uuid(tmp_path: Path, server: Sshd) -> None:
    """A dump without any network, on a disk found by its UUID."""
    disk = blank_disk(tmp_path / "disk", 512, uuid=UUID)
    run = guest(tmp_path, server, f"ext4 UUID={UUID}\npath /crash\n", disks=[disk])
    assert_rebooted(run)
    files = {path.name: path for path in from_disk(disk, "/crash", tmp_path / "out")}
    assert set(files) == {"vmcore", "vmcore-dmesg.txt", "kexec-dmesg.log"}, run.text[-3000:]
    assert files["vmcore"].parent.name.startswith("127.0.0.1-")
    assert_vmcore_whole(files["vmcore"], tmp_path)


def test_a_raw_partition_is_emptied_at_the_next_start(tmp_path: Path, server: Sshd) -> None:
    """The stream lies at the partition's first byte; `kdump start` makes a file of it and wipes the head."""
    raw = blank_disk(tmp_path / "raw", 256)
    keep = blank_disk(tmp_path / "keep", 512, uuid=UUID)
    conf = "raw /dev/vda\npath /var/crash\n"
    run = guest(tmp_path, server, conf, disks=[raw, keep])
    assert_rebooted(run)
    assert head(raw) == b"makedumpfile", run.text[-3000:]
    mount = "mkdir -p /var/crash; mount -t ext4 /dev/vdb /var/crash\n"
    second = guest(
        tmp_path,
        server,
        conf,
        PREPARE + mount + "$KDUMP start; mark start; umount /var/crash\n",
        disks=[raw, keep],
        life=2,
    )
    assert "Dump saved on /dev/vda: rearranging" in second.text
    assert head(raw) != b"makedumpfile"
    files = {path.name: path for path in from_disk(keep, "/", tmp_path / "out")}
    assert_vmcore_whole(files["vmcore"], tmp_path)


@pytest.mark.parametrize(
    ("action", "end"),
    [("reboot", "Restarting system"), ("poweroff", "Power down"), ("halt", "System halted")],
)
def test_when_nobody_takes_the_dump_the_failure_action_comes(
    tmp_path: Path, server: Sshd, action: str, end: str
) -> None:
    """A closed port: given up after net_timeout, kdump_post told 1."""
    conf = "ssh root@10.0.2.2:1\npath {dumps}\nnet_timeout 10\nkdump_post /opt/kdump/post.sh\n"
    conf += f"failure_action {action}\n"
    script = PREPARE.replace('echo "$KNOWN"', 'echo "${KNOWN/]:*ssh/]:1 ssh}"') + START
    run = guest(
        tmp_path, server, conf, script, scripts={"post.sh": '#!/bin/sh\necho "@@ post got $1"\n'}, until=end
    )
    assert "@@ post got 1" in run.text, run.text[-3000:]
    assert f"failure_action is {action}" in run.text
    assert end in run.text


def test_a_dump_kept_locally_is_delivered_at_the_next_boot(tmp_path: Path, server: Sshd) -> None:
    """The server is away at the crash and back after the reboot."""
    disk = blank_disk(tmp_path / "disk", 512, uuid=UUID)
    mount = "mkdir -p /var/crash; mount -t ext4 /dev/vda /var/crash\n"
    away = "ssh root@10.0.2.2:1\npath /var/crash\nnet_timeout 10\nfallback local\n"
    unknown = PREPARE.replace('echo "$KNOWN"', 'echo "${KNOWN/]:*ssh/]:1 ssh}"')
    run = guest(tmp_path, server, away, unknown + mount + START, disks=[disk])
    assert_rebooted(run)
    assert server.files() == {}
    # the same configuration with the server back, on the port it has now
    back = "ssh root@10.0.2.2:{port}\npath {dumps}\nfallback local /var/crash\n"
    second = guest(
        tmp_path,
        server,
        back,
        PREPARE + mount + '$KDUMP deliver; mark "deliver $?"; ls /var/crash/*; umount /var/crash\n',
        disks=[disk],
        life=2,
    )
    assert "@@ deliver 0" in second.text, second.text[-3000:]
    files = server.files()
    assert set(files) >= {"vmcore", "vmcore-dmesg.txt"}
    assert files["vmcore"].parent.name.startswith("10.0.2.15-")
    assert_vmcore_whole(files["vmcore"], tmp_path)
