"""The capture kernel's command line: the running kernel's, less what would hurt it, plus what it needs.

Source: kdump-utils kdump-lib.sh prepare_cmdline and the kdump.sysconfig of
each architecture (v1.0.61); facts of older releases are noted where they differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# The first line is what names a root the capture kernel never mounts; the second is KDUMP_COMMANDLINE_REMOVE.
REMOVED = frozenset(
    [
        "crashkernel",
        "panic_on_warn",
        "root",
        "rootflags",
        "rootfstype",
        "ro",
        "rw",
        "resume",
        "init",
        "systemd.unit",
        "BOOT_IMAGE",
        "initrd",
        "rd.lvm.lv",
        "rd.luks.uuid",
        "rd.dm.uuid",
        "rd.md.uuid",
        "fcoe",
        "netroot",
        "nfsroot",
        "ip",
        "ifname",
        "bond",
        "vlan",
        "bridge",
        "team",
        "nameserver",
        "rd.route",
        "rd.neednet",
        "rd.retry",
        "rd.shell",
        "rd.iscsi.initiator",
        "iscsi_initiator",
        "splash",
        "showopts",
        "abm",
        "mem",
        "nr_cpus",
        "maxcpus",
        "rdinit",
        "hugepages",
        "hugepagesz",
        "slub_debug",
        "quiet",
        "log_buf_len",
        "swiotlb",
        "hugetlb_cma",
        "ignition.firstboot",
        "cma",
    ]
)

_EVERYWHERE = (
    "reset_devices novmcoredd hugetlb_cma=0 kfence.sample_interval=0 cma=0 udev.children-max=2 panic=10"
)
_BY_MACHINE = {
    "x86_64": (
        "irqpoll cgroup_disable=memory mce=off numa=off acpi_no_memhotplug transparent_hugepage=never"
        " nokaslr hest_disable pcie_ports=compat"
    ),
    "aarch64": "irqpoll cgroup_disable=memory numa=off swiotlb=noforce",
    "ppc64le": "noirqdistrib cgroup_disable=memory numa=off srcutree.big_cpus=0 kvm_cma_resv_ratio=0",
    "s390x": "cgroup_disable=memory numa=off",
}
_BY_MACHINE["i686"] = _BY_MACHINE["i386"] = (
    "irqpoll cgroup_disable=memory mce=off numa=off acpi_no_memhotplug"
)

# A word may hold blanks inside double quotes, as the kernel's own parser (lib/cmdline.c next_arg) reads it.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
MAX_BYTES = {"x86_64": 2048, "s390x": 4096}  # COMMAND_LINE_SIZE of arch/*/include/asm/setup.h


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The line, and what went and what came for `kdump show`."""

    text: str
    removed: tuple[str, ...]
    appended: tuple[str, ...]


def words(line: str) -> tuple[str, ...]:
    """The words of a kernel command line; quotes stay on them."""
    found = _WORD.findall(line)
    # an open quote would swallow all that is appended behind it
    return tuple(word + '"' * (word.count('"') % 2) for word in found)


def key(word: str) -> str:
    """The part before ``=``; the kernel reads ``-`` and ``_`` as the same."""
    return word.split("=", 1)[0].replace("-", "_")


def compose(
    running: str,
    machine: str,
    nr_cpus: int = 1,
    boot_apicid: int | None = None,
    remove: Iterable[str] = (),
    append: Iterable[str] = (),
) -> CommandLine:
    """Compose it. ``boot_apicid`` is cpu0's initial APIC id on x86, whose processor an INIT would reset.

    A word of ``append`` wins over one of the running kernel's with the same key.
    """
    append = tuple(append)
    gone = {key(word) for word in (*REMOVED, *remove)}
    added = [*_EVERYWHERE.split(), *_BY_MACHINE.get(machine, "").split()]
    # s390x and ppc64le number their processors from the one that panicked
    added.append(f"nr_cpus={nr_cpus}" if machine != "ppc64le" else f"maxcpus={nr_cpus}")
    if boot_apicid is not None:
        added.append(f"disable_cpu_apicid={boot_apicid}")
    own = {key(word) for word in (*added, *append)} - {"console"}
    removed: list[str] = []
    kept: list[str] = []
    for word in words(running):
        (removed if key(word) in gone or key(word) in own else kept).append(word)
    added = [word for word in added if key(word) not in {key(a) for a in append}]
    appended = (*added, *append)
    return CommandLine(" ".join((*kept, *appended)), tuple(removed), appended)


def initial_apicid(cpuinfo: str) -> int | None:
    """cpu0's ``initial apicid`` of /proc/cpuinfo, None on machines without one."""
    match = re.search(r"^initial apicid\s*:\s*(\d+)\s*$", cpuinfo.split("\n\n", 1)[0], re.MULTILINE)
    return int(match[1]) if match else None
