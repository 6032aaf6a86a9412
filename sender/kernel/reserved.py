"""How much memory the running kernel keeps for the capture kernel, and what to write when it keeps none.

Sources: /sys/kernel/kexec_crash_size (bytes), /proc/iomem "Crash kernel";
recommended values: kdump-utils kdump-lib.sh kdump_get_arch_recommend_crashkernel (v1.0.61).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 1 << 20
_RANGE = re.compile(r"^\s*([0-9a-f]+)-([0-9a-f]+) : Crash kernel\s*$", re.MULTILINE | re.IGNORECASE)

RECOMMENDED = {
    "x86_64": "2G-64G:256M,64G-:512M",
    "aarch64": "1G-4G:256M,4G-64G:320M,64G-:576M",
    "ppc64le": "2G-4G:384M,4G-16G:512M,16G-64G:1G,64G-128G:2G,128G-:4G",
    "s390x": "1G-4G:160M,4G-64G:192M,64G-1T:256M,1T-:512M",
}


@dataclass(frozen=True, slots=True)
class Reserved:
    """``size`` in bytes, 0 for none; ``supported`` is whether this kernel can load a crash kernel at all."""

    supported: bool
    size: int
    loaded: bool
    asked: str = ""  # the crashkernel= of the running kernel, empty where it has none


def read_reserved(crash_size: str | None, crash_loaded: str | None, cmdline: str) -> Reserved:
    """From the texts of kexec_crash_size, kexec_crash_loaded (None: no such file) and /proc/cmdline."""
    size = int(crash_size) if crash_size and crash_size.strip().isdigit() else 0
    asked = [word for word in cmdline.split() if word.startswith("crashkernel=")]
    return Reserved(
        supported=crash_loaded is not None,
        size=size,
        loaded=(crash_loaded or "").strip() == "1",
        asked=asked[-1] if asked else "",
    )


def crash_ranges(iomem: str) -> tuple[tuple[int, int], ...]:
    """The (first, last) byte addresses of /proc/iomem's "Crash kernel" lines; zeros without privilege."""
    return tuple(
        (int(a, 16), int(b, 16)) for a, b in _RANGE.findall(iomem.lower().replace("crash k", "Crash k"))
    )


def recommended(machine: str) -> str:
    """The value for ``crashkernel=`` on this machine, as ``uname -m`` names it."""
    return RECOMMENDED.get(machine, RECOMMENDED["x86_64"])


def advice(state: Reserved, machine: str) -> str:
    """What is missing and what to do, or '' when memory is reserved."""
    if not state.supported:
        return "this kernel was built without CONFIG_KEXEC_CORE and CONFIG_CRASH_DUMP; boot one that has them"
    if state.size:
        return ""
    value = recommended(machine)
    if not state.asked:
        return (
            f"add crashkernel={value} to the kernel command line"
            " (grubby --update-kernel=ALL --args, or GRUB_CMDLINE_LINUX and update-grub) and reboot"
        )
    return (
        f"the kernel was started with {state.asked} but could not reserve it:"
        f" see `dmesg | grep -i crashkernel`, try crashkernel={value} and reboot"
    )
