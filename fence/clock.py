"""The daemon's clock: one that neither stops in suspend nor is ever set."""

from __future__ import annotations

import os
import time
from pathlib import Path


def now() -> float:
    """Seconds of CLOCK_BOOTTIME: a suspended host must not keep old evidence fresh."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def identity() -> str:
    """Names the clock of this boot: times of another identity cannot be compared with `now`.

    The time namespace belongs to it: it may shift CLOCK_BOOTTIME (time_namespaces(7)).
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        return f"{boot} {os.readlink('/proc/self/ns/time')}"
    except OSError:
        return boot  # a kernel without time namespaces
