"""A Debian with its own, unmodified kdump-tools on a disk image, made once with debootstrap."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.machine import CACHE

BASE = (
    "systemd-sysv,udev,kmod,dbus,iproute2,ifupdown,isc-dhcp-client,procps,openssh-client,"
    "initramfs-tools,zstd,busybox,makedumpfile,kexec-tools"
)
CRASH_UNIT = """\
[Unit]
Description=Crash this machine once kdump is ready
After=kdump-tools.service multi-user.target
ConditionPathExists=!/proc/vmcore
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/console
ExecStart=/bin/sh -c 'ls -l /var/lib/kdump; sync; echo c > /proc/sysrq-trigger'
"""


def root_tree() -> Path:
    """The unpacked system, kept in the cache."""
    root = CACHE / "stock/root"
    if (CACHE / "stock/done").exists():
        return root
    shutil.rmtree(CACHE / "stock", ignore_errors=True)
    root.mkdir(parents=True)
    with (CACHE / "stock/log").open("wb") as log:

        def run(*argv: str, **more: Any) -> None:
            subprocess.run(argv, check=True, stdout=log, stderr=log, **more)

        run("debootstrap", "--variant=minbase", f"--include={BASE}", "bookworm", str(root), timeout=900)
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        install = (
            "echo 'kdump-tools kdump-tools/use_kdump boolean true' | debconf-set-selections;"
            "echo 'kexec-tools kexec-tools/load_kexec boolean false' | debconf-set-selections;"
            "apt-get install -y -q --no-install-recommends linux-image-cloud-amd64;"
            "apt-get install -y -q --no-install-recommends kdump-tools; apt-get clean"
        )
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("mount", "-t", "proc", "proc", str(root / "proc"))
        try:
            run("chroot", str(root), "sh", "-ec", install, stdin=subprocess.DEVNULL, env=env, timeout=900)
        finally:
            run("umount", str(root / "proc"))
        policy.unlink()
    (CACHE / "stock/done").touch()
    return root


def disk(to: Path, user_host: str, port: int, key: Path, coredir: str = "/var/crash") -> Path:
    """A bootable ext4 image whose kdump-tools sends to an ssh server, set up as its documentation says."""
    root = root_tree()
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(key, root / "root/.ssh/kdump_id")
    (root / "root/.ssh/kdump_id").chmod(0o600)
    host = user_host.partition("@")[2]
    (root / "root/.ssh/config").write_text(f"Host {host}\n Port {port}\n StrictHostKeyChecking no\n")
    default = root / "etc/default/kdump-tools"
    kept = default.with_suffix(".packaged")
    if not kept.exists():
        shutil.copy(default, kept)
    said = f'SSH="{user_host}"\nSSH_KEY=/root/.ssh/kdump_id\nKDUMP_COREDIR="{coredir}"\n'
    default.write_text(kept.read_text() + said)
    (root / "etc/hostname").write_text("debian-stock\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost debian-stock\n")
    (root / "etc/network/interfaces").write_text(
        "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n"
    )
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    unit = root / "etc/systemd/system/crash-now.service"
    unit.write_text(CRASH_UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    if not (wants / unit.name).is_symlink():
        (wants / unit.name).symlink_to(f"../{unit.name}")
    to.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(to), "1500M"], check=True)
    return to


def keep_crash_initrd(image: Path) -> None:
    """What kdump-tools made at the image's first boot, for the images to come: the file holds no settings."""
    if has_crash_initrd():
        return
    found = CACHE / "stock/made"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir()
    ask = ["debugfs", "-R", f"rdump /var/lib/kdump {found}", str(image)]
    subprocess.run(ask, check=True, capture_output=True)
    shutil.copytree(found / "kdump", root_tree() / "var/lib/kdump", symlinks=True, dirs_exist_ok=True)


def has_crash_initrd() -> bool:
    """Whether the next guest's kdump-tools has nothing to make."""
    return (root_tree() / "var/lib/kdump/initrd.img").is_symlink()


def stock_argv(image: Path, memory: int = 768, reserve: str = "192M") -> list[str]:
    """QEMU's words for it, without the console."""
    boot = root_tree() / "boot"
    kernel, initrd = next(boot.glob("vmlinuz-*")), next(boot.glob("initrd.img-*"))
    argv = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "q35,accel=tcg",
    ]
    argv += ["-cpu", "max", "-smp", "2", "-m", str(memory), "-kernel", str(kernel), "-initrd", str(initrd)]
    argv += ["-append", f"root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=5 crashkernel={reserve}"]
    argv += ["-drive", f"file={image},format=raw,if=virtio", "-device", "virtio-rng-pci"]
    return [*argv, "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0"]
