"""How much room there is, as admission and the clients' `df` see it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Amount = int | str  # bytes, or "5%" of the file system


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows. None: no such limit."""

    max_dump_bytes: int = 16 << 40
    keep_free: Amount = 1 << 30
    max_use: Amount | None = None  # of all dumps together
    host_quota: Amount | None = None  # of one host's dumps
    quotas: Mapping[str, Amount] = field(default_factory=dict)  # of those that have one of their own
    dumps_per_host: int = 1000


@dataclass(frozen=True, slots=True)
class Space:
    """What one host may still write, as `df` tells it. All in bytes."""

    total: int
    used: int
    available: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The spool's file system, in bytes."""

    total: int
    free: int  # for us; some file systems keep a part for root


@dataclass(frozen=True, slots=True)
class Use:
    """Bytes that dumps take, and those promised to uploads that are under way."""

    bytes: int = 0
    reserved: int = 0

    @property
    def whole(self) -> int:
        """As if every upload had come."""
        return self.bytes + self.reserved


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit: what it leaves, and how it is called. `left` is negative when it is exceeded."""

    name: str  # keep_free, max_use, quota
    left: int
    limit: int  # bytes that it allows in all
    errno: int
    host: str | None = None

    def text(self) -> str:
        """It with its numbers."""
        whose = f"the quota of {self.host}" if self.host else self.name
        over = f"is exceeded by {-self.left}" if self.left < 0 else f"leaves {self.left}"
        return f"{whose} ({self.limit} bytes) {over}"


def disk(root: Path) -> Disk:
    """The file system of `root` now."""
    status = os.statvfs(root)
    if not status.f_blocks:  # one that does not say
        return Disk(1 << 62, 1 << 62)
    return Disk(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


def bytes_of(amount: Amount, total: int) -> int:
    """An amount in bytes; a percentage is one of `total`."""
    if isinstance(amount, int):
        return amount
    return int(total * float(amount.removesuffix("%")) / 100)


def quota_of(limits: Limits, host: str, total: int) -> int | None:
    """What `host` may take in all, in bytes."""
    amount = limits.quotas.get(host, limits.host_quota)
    return None if amount is None else bytes_of(amount, total)


def bounds(limits: Limits, now: Disk, coming: int, everything: Use, host: str, of_host: Use) -> list[Bound]:
    """Every limit that holds for `host`.

    `coming` are bytes that uploads under way will still write. Without `host`: those of all together.
    """
    keep = bytes_of(limits.keep_free, now.total)
    found = [Bound("keep_free", now.free - keep - coming, max(0, now.total - keep), errno.ENOSPC)]
    if limits.max_use is not None:
        most = bytes_of(limits.max_use, now.total)
        found.append(Bound("max_use", most - everything.whole, most, errno.ENOSPC))
    quota = quota_of(limits, host, now.total) if host else None
    if quota is not None:
        found.append(Bound("quota", quota - of_host.whole, quota, errno.EDQUOT, host))
    return found


def space(found: list[Bound], evictable: int, evictable_of_host: int) -> Space:
    """What `df` says: the tightest bound, with what goes when room is needed."""
    available = min(bound.left + (evictable_of_host if bound.host else evictable) for bound in found)
    available = max(0, available)
    total = max(available, min(bound.limit for bound in found))
    return Space(total, total - available, available)
