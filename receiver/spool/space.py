"""How much room there is, as admission and the clients' `df` see it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows. All in bytes."""

    max_dump_bytes: int = 16 << 40
    keep_free: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Space:
    """Of the spool's file system, less what must stay free. All in bytes."""

    total: int
    used: int
    available: int


def space(root: Path, limits: Limits) -> Space:
    """The room below `root` now."""
    status = os.statvfs(root)
    unit = status.f_frsize
    return Space(
        total=status.f_blocks * unit,
        used=(status.f_blocks - status.f_bfree) * unit,
        available=max(0, status.f_bavail * unit - limits.keep_free),
    )
