"""Real kernels crash, and what `kdump start` loaded brings their memory out.

Each test is one life of a guest, or two: it runs `kdump start`, panics by sysrq, and ends when the
capture kernel reboots. The server is a plain OpenSSH on loopback. A scenario's first run builds its
image in the guest with dracut (two minutes of software emulation), later ones find it in the cache.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.guest import (
    CRASHES,
    DISK_DRIVERS,
    PREPARE,
    assert_flattened_whole,
    assert_rebooted,
    assert_vmcore_whole,
    blank_disk,
    from_disk,
    guest,
    head,
)
from tests.e2e.prebuilt import UUID
from tests.e2e.server import Sshd, fence, nfs, receiver

pytestmark = CRASHES


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


def test_a_crash_arrives_over_ssh_and_the_cluster_hears_of_it_first(tmp_path: Path, server: Sshd) -> None:
    """The main thing: `kdump start`, panic, fence message, log, core, own log, reboot."""
    with Listener() as cluster:
        conf = (
            "ssh root@10.0.2.2:{port}\npath {dumps}\nfence_kdump_nodes 10.0.2.2\n"
            f"fence_kdump_args -p {cluster.port} -i 1\n"
        )
        run = guest(tmp_path, server, conf, image="cluster", built_here=False)
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
    # what the server made of it stands on the console
    assert "bytes (" in run.text
    assert f"kdump-receiver: the core is complete, kept in {dump['directory']}" in run.text


def test_scp_over_ipv6(tmp_path: Path, server: Sshd) -> None:
    """core_collector scp sends the raw ELF core; the address is IPv6 all the way."""
    conf = "ssh root@[fec0::2]:{port}\npath {dumps}\ncore_collector scp\n"
    run = guest(tmp_path, server, conf, network="ipv6")
    assert_rebooted(run)
    files = server.files()
    assert set(files) >= {"vmcore", "vmcore-dmesg.txt"}, run.text[-3000:]
    assert files["vmcore"].read_bytes()[:4] == b"\x7fELF"
    assert_vmcore_whole(files["vmcore"], tmp_path)


@pytest.mark.parametrize("network", ["dhcp", "bond", "bridge"])
def test_the_way_to_the_server_is_built_again(tmp_path: Path, server: Sshd, network: str) -> None:
    """A leased address, a bond, a bridge: dracut's arguments, taken from the guest's own interfaces."""
    conf = "ssh root@10.0.2.2:{port}\npath {dumps}\n"
    run = guest(tmp_path, server, conf, network=network)
    assert_rebooted(run)
    files = server.files()
    assert set(files) == {"vmcore.flat", "vmcore-dmesg.txt", "kexec-dmesg.log"}, run.text[-3000:]
    assert files["vmcore.flat"].parent.name.startswith("10.0.2.15-")
    assert_flattened_whole(files["vmcore.flat"], tmp_path)


def test_a_vlan_is_said_in_dracuts_words(tmp_path: Path, server: Sshd) -> None:
    """Of a guest's own VLAN; QEMU's user network carries no tags, so nothing crashes here."""
    vlan = (
        "ip link add link enp0s2 name enp0s2.5 type vlan id 5; ip link set enp0s2.5 up\n"
        "ip addr add 192.0.2.5/24 dev enp0s2.5; KNOWN=${KNOWN/10.0.2.2/192.0.2.9}\n"
    )
    first, rest = PREPARE.split("install -m 600", 1)
    script = first + vlan + "install -m 600" + rest + "$KDUMP show | sed -n 's/^network */@@ /p'\n"
    conf = "ssh root@192.0.2.9:{port}\npath {dumps}\n"
    run = guest(tmp_path, server, conf, script, built_here=False, seconds=120)
    said = "vlan=enp0s2.5:enp0s2 ifname=enp0s2:52:54:00:12:34:56"
    assert f"@@ {said} ip=192.0.2.5:::255.255.255.0:crashnode1:enp0s2.5:none" in run.text, run.text[-2000:]


def test_every_processor_compresses(tmp_path: Path) -> None:
    """nr_cpus 2: zstd behind makedumpfile, and our receiver takes it off again.

    Three processors: cpu0 stays out (disable_cpu_apicid) when the panic came on another one.
    """
    with receiver(tmp_path / "receiver", "crashnode1") as ours:
        conf = "ssh kdump@10.0.2.2:{port}\npath /var/crash\nnr_cpus 2\n"
        run = guest(tmp_path, ours, conf, cpus=3)
        assert_rebooted(run)
        (dump,) = ours.dumps()
    assert dump["verdict"] == "complete", run.text[-3000:]
    assert "zstd" in json.dumps(dump), dump
    assert "sysrq triggered crash" in json.dumps(dump)


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
    conf = "raw /dev/vda\npath /var/crash\n" + DISK_DRIVERS
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


def test_kdump_test_and_then_the_real_thing(tmp_path: Path) -> None:
    """`kdump test` first, then `kdump test --crash`: the name is typed, and a whole dump arrives."""
    asked = """
$KDUMP start; mark "start $?"
mkdir -p $IMAGES; cp -a /var/lib/kdump/base-* /var/lib/kdump/stamp-* $IMAGES/
$KDUMP test; mark "test $?"
$KDUMP test --crash < /dev/console; mark "not crashed $?"
"""
    with receiver(tmp_path / "receiver", "crashnode1") as ours:
        run = guest(
            tmp_path,
            ours,
            "ssh kdump@10.0.2.2:{port}\npath /var/crash\n",
            PREPARE + asked,
            typed=[("its name (crashnode1)", "crashnode1")],
        )
        dumps = ours.dumps()
    assert "@@ test 0" in run.text, run.text[-3000:]
    assert_rebooted(run)
    assert [dump["verdict"] for dump in dumps] == ["complete", "complete"], dumps
    assert sum("sysrq triggered crash" in json.dumps(dump) for dump in dumps) == 1
