"""Every word of kdump.conf has its effect: on the image that is built, and on what the capture kernel reads.

The table is the one of facts about RHEL 6, RHEL 7 and kdump-utils; a word of `OPTIONS` without a row fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sender.conf.model import read_text
from sender.conf.options import BY_NAME, OPTIONS
from sender.image.plan import Facts, Mount, Plan, compile_plan
from sender.kernel.cmdline import compose
from sender.kernel.kexec import attempts

FACTS = Facts(
    addresses={"server": "192.0.2.9", "node1": "192.0.2.11"},
    mounts={"/var/crash": Mount("UUID=r", "xfs", "/crash"), "/keep": Mount("UUID=k", "ext4", "/")},
    root=Mount("UUID=r", "xfs", "/"),
    hostname="web01",
    keys={"key": b"KEY", "known_hosts": b"server ssh-ed25519 AAAA\n"},
    programs={"/opt/x.sh": b"#!/usr/bin/env python3\n"},
    fence_program="/usr/sbin/fence_kdump_send",
)
SSH = "ssh kdump@server\n"


@dataclass(frozen=True)
class Row:
    """``plan``/``target`` are lines of those files, the rest members of what dracut is asked for."""

    line: str
    plan: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    start: str = ""  # in the kexec call


TABLE = {
    "path": Row(SSH + "path /dumps", target=("SAVE_PATH=/dumps",)),
    "core_collector": Row(
        SSH + "core_collector makedumpfile -c -d 31",
        target=("COLLECTOR='makedumpfile -F -c -d 31'", "COLLECTOR_KIND=makedumpfile"),
        programs=("makedumpfile",),
    ),
    "raw": Row("raw /dev/sda5", target=("KIND=raw", "DEVICE=/dev/sda5"), devices=("/dev/sda5",)),
    "nfs": Row(
        "nfs server:/export",
        target=("KIND=fs", "FSTYPE=nfs", "DEVICE=192.0.2.9:/export"),
        modules=("nfs",),
        drivers=("nfs", "nfsv3", "nfsv4"),
    ),
    "nfs4": Row("nfs4 server:/export", target=("FSTYPE=nfs4",), modules=("nfs",), drivers=("nfs", "nfsv4")),
    "net": Row("net kdump@server", target=("KIND=ssh", "SSH_USER=kdump", "SSH_HOST=server")),
    "ssh": Row(
        "ssh kdump@server:2222",
        target=("KIND=ssh", "SSH_USER=kdump", "SSH_PORT=2222", "ADDRESS=192.0.2.9"),
        programs=("ssh", "scp"),
        files={
            "/etc/kdump-net/key": "KEY",
            "/etc/kdump-net/known_hosts": "AAAA",
            "/etc/hosts": "192.0.2.9 server",
        },
    ),
    **{
        kind: Row(
            f"{kind} UUID=1",
            target=("KIND=fs", f"FSTYPE={kind}", "DEVICE=UUID=1"),
            devices=("UUID=1",),
            drivers=(kind,),
            perhaps=(f"fsck.{kind}",),
            plan=("WAIT_DEVICES=/dev/disk/by-uuid/1",),
        )
        for kind in ("ext2", "ext3", "ext4", "xfs", "btrfs", "minix")
    },
    "virtiofs": Row("virtiofs myfs", target=("FSTYPE=virtiofs", "DEVICE=myfs"), modules=("virtiofs",)),
    "fallback": Row(SSH + "fallback local /keep", plan=("TARGETS=2",), devices=("UUID=k",)),
    "disk_timeout": Row("ext4 UUID=1\ndisk_timeout 90", plan=("DISK_TIMEOUT=90", "WAIT_SECONDS=90")),
    "link_delay": Row("link_delay 9", plan=("LINK_DELAY=9",)),
    "kdump_post": Row(
        "kdump_post /opt/x.sh",
        plan=("KDUMP_POST=/opt/x.sh",),
        programs=("/usr/bin/env", "python3"),
        files={"/opt/x.sh": "#!"},
    ),
    "kdump_pre": Row("kdump_pre /opt/x.sh", plan=("KDUMP_PRE=/opt/x.sh",), files={"/opt/x.sh": "#!"}),
    "kdump_emergency": Row(
        "kdump_emergency /opt/x.sh", plan=("KDUMP_EMERGENCY=/opt/x.sh",), files={"/opt/x.sh": "#!"}
    ),
    "extra_bins": Row("extra_bins /usr/bin/lftp strace", programs=("/usr/bin/lftp", "strace")),
    "extra_modules": Row(
        "extra_modules gfs2 dlm",
        plan=("EXTRA_MODULES='gfs2 dlm'",),
        drivers=("gfs2", "dlm"),
        files={"/etc/cmdline.d/50-kdump-net.conf": "rd.driver.post=gfs2"},
    ),
    "options": Row(
        "options e1000 copybreak=0", files={"/etc/modprobe.d/kdump-net.conf": "options e1000 copybreak=0"}
    ),
    "blacklist": Row(
        "blacklist nouveau",
        files={
            "/etc/modprobe.d/kdump-net.conf": "blacklist nouveau",
            "/etc/cmdline.d/50-kdump-net.conf": "rd.driver.blacklist=nouveau",
        },
    ),
    "sshkey": Row(SSH + "sshkey /root/.ssh/other", target=("SSH_KEY=/etc/kdump-net/key",)),
    "default": Row("default halt", plan=("FAILURE_ACTION=halt", "FINAL_ACTION=halt")),
    "failure_action": Row(
        "failure_action dump_to_rootfs",
        plan=("FAILURE_ACTION=dump_to_rootfs", "ROOT_DEVICE=UUID=r"),
        devices=("UUID=r",),
    ),
    "final_action": Row("final_action poweroff", plan=("FINAL_ACTION=poweroff", "FAILURE_ACTION=reboot")),
    "debug_mem_level": Row("debug_mem_level 3", plan=("DEBUG_MEM_LEVEL=3",)),
    "force_rebuild": Row("force_rebuild 1"),  # tests/sender/test_effects.py
    "force_no_rebuild": Row("force_no_rebuild 1"),  # tests/sender/test_effects.py
    "fence_kdump_args": Row(
        "fence_kdump_nodes node1\nfence_kdump_args -p 7410 -i 5", plan=("FENCE_ARGS='-p 7410 -i 5'",)
    ),
    "fence_kdump_nodes": Row(
        "fence_kdump_nodes node1 192.0.2.12",
        plan=("FENCE_NODES='192.0.2.11 192.0.2.12'", "FENCE_PROGRAM=/usr/sbin/fence_kdump_send"),
        programs=("/usr/sbin/fence_kdump_send",),
        files={"/etc/hosts": "192.0.2.11 node1"},
    ),
    "dracut_args": Row('dracut_args --add "iscsi"'),  # tests/sender/test_effects.py
    "auto_reset_crashkernel": Row("auto_reset_crashkernel no"),  # tests/sender/test_effects.py
    "override_resettable": Row("override_resettable 1"),  # without effect since 2023
    "Kdump_not_supported_on_Xen_domU_guest": Row("Kdump_not_supported_on_Xen_domU_guest"),  # a note
    "kernel_version": Row("kernel_version 6.1.0-1-amd64"),  # tests/sender/test_effects.py
    "nr_cpus": Row("nr_cpus 4", start="nr_cpus=4"),
    "kexec_args": Row("kexec_args -c -d", start="kexec -c -d -p"),
    "cmdline_remove": Row("cmdline_remove nosmt", start="console=ttyS0 reset_devices"),
    "cmdline_append": Row("cmdline_append foo=1", start="foo=1"),
    "ssh_compress": Row(SSH + "ssh_compress xz", plan=("SSH_COMPRESS=xz",), perhaps=("xz",)),
    "net_timeout": Row(SSH + "net_timeout 200\ndisk_timeout 1", plan=("NET_TIMEOUT=200", "WAIT_SECONDS=200")),
    "stall_timeout": Row("stall_timeout 33", plan=("STALL_TIMEOUT=33",)),
    "capture_timeout": Row("capture_timeout 3600", plan=("CAPTURE_TIMEOUT=3600",)),
}


def compiled(text: str) -> Plan:
    reading = read_text(text)
    assert reading.config is not None, reading.problems
    return compile_plan(reading.config, FACTS, {"capture.sh": b"#!/bin/sh\n"})


def test_no_word_is_without_a_row() -> None:
    """A new option needs its effect told here."""
    assert set(TABLE) == set(BY_NAME)


@pytest.mark.parametrize("name", TABLE)
def test_each_word_has_its_effect(name: str) -> None:
    """In the image and in the capture kernel's plan."""
    row = TABLE[name]
    plan = compiled(row.line)
    files = {entry.path: entry.data.decode(errors="replace") for entry in plan.entries}
    said = files["/etc/kdump-net/plan"].splitlines()
    assert set(row.plan) <= set(said)
    assert set(row.target) <= set(files["/etc/kdump-net/target.1"].splitlines())
    for kind in ("modules", "programs", "perhaps", "drivers", "devices"):
        assert set(getattr(row, kind)) <= set(getattr(plan.needs, kind)), kind
    for path, text in row.files.items():
        assert text in files[path]
    if row.start:
        config = read_text(row.line).config
        assert config is not None
        line = compose(
            "root=/dev/sda nosmt console=ttyS0",
            "x86_64",
            config.nr_cpus,
            None,
            config.cmdline_remove,
            config.cmdline_append,
        )
        calls = attempts("/k", "/i", line.text, "x86_64", enforced=False, given=config.kexec_args)
        assert row.start in " ".join(calls[0].argv)


def test_the_key_is_for_root_alone() -> None:
    """CVE-2011-3589: an image with a readable private key."""
    modes = {entry.path: entry.mode for entry in compiled(SSH).entries}
    assert modes["/etc/kdump-net/key"] == 0o600


def test_values_cannot_break_out_of_the_plan() -> None:
    """Whatever the host is called, the plan stays assignments."""
    reading = read_text(SSH)
    assert reading.config is not None
    facts = Facts(hostname="a'; reboot -f; '", addresses={"server": "$(reboot)"})
    plan = compile_plan(reading.config, facts, {})
    text = next(e.data.decode() for e in plan.entries if e.path == "/etc/kdump-net/plan")
    assert "NODE_NAME='a'\"'\"'; reboot -f; '\"'\"''" in text


def test_a_local_path_becomes_the_device_that_holds_it() -> None:
    """In the capture kernel nothing is mounted yet."""
    files = {e.path: e.data.decode() for e in compiled("path /var/crash").entries}
    target = files["/etc/kdump-net/target.1"].splitlines()
    assert {"DEVICE=UUID=r", "FSTYPE=xfs", "SAVE_PATH=/crash", "DELIVER_TO=''"} <= set(target)


def test_a_btrfs_subvolume_is_mounted_as_it_is() -> None:
    """Its directory is not at the file system's top."""
    reading = read_text("path /var/crash")
    assert reading.config is not None
    facts = Facts(mounts={"/var/crash": Mount("UUID=b", "btrfs", "/crash", "rw,subvol=/@var")})
    files = {e.path: e.data.decode() for e in compile_plan(reading.config, facts, {}).entries}
    assert "MOUNT_OPTIONS=rw,subvol=/@var" in files["/etc/kdump-net/target.1"].splitlines()


def test_a_config_without_network_brings_none() -> None:
    """No ssh, no network modules, no address."""
    plan = compiled("ext4 UUID=1")
    assert not {"network", "network-legacy"} & set(plan.needs.modules)
    assert "ssh" not in plan.needs.programs


def test_the_sample_file_explains_every_word() -> None:
    """deploy/kdump.conf: each word stands in it, commented, and the file as it is can be obeyed."""
    from pathlib import Path

    sample = (Path(__file__).parent.parent.parent / "deploy/sender/kdump.conf").read_text()
    assert read_text(sample).config is not None
    for option in OPTIONS:
        if not option.deprecated and option.name[0].islower():
            assert any(line.lstrip("#").split(" ")[0] == option.name for line in sample.splitlines()), (
                option.name
            )
    uncommented = "\n".join(
        line[1:] for line in sample.splitlines() if line[:1] == "#" and line[1:2].islower()
    )
    fatal = [
        p
        for p in read_text(uncommented).problems
        if p.fatal and "More than one" not in p.what and "Duplicated" not in p.what
    ]
    assert fatal == []
