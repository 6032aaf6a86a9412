"""Where the space went and what goes next: for `kdump-receiver space`, the page, the API and the metrics."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from receiver.spool import usage
from receiver.spool.dumps import Spool
from receiver.spool.retention import Dump, Need, Plan, Policy, plan
from receiver.spool.space import Limits, bytes_of, disk, quota_of


@dataclass(frozen=True, slots=True)
class HostSpace:
    """One host. Bytes on disk; `quota` None: no limit of its own."""

    host: str
    dumps: int
    cores: int
    bytes: int
    reserved: int
    quota: int | None


@dataclass(frozen=True, slots=True)
class GroupSpace:
    """The dumps that crashed alike."""

    signature: str
    dumps: int
    cores: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Going:
    """A core that goes when space is short, in this order."""

    id: str
    directory: str
    host: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole spool. Bytes; `reserved` is promised to uploads under way."""

    total: int  # of the file system
    free: int
    keep_free: int
    max_use: int | None
    bytes: int
    reserved: int
    dumps: int
    cores: int
    pinned: int
    evictable: int  # of cores that may go
    hosts: tuple[HostSpace, ...]
    groups: tuple[GroupSpace, ...]
    next: tuple[Going, ...]


def summary(spool: Spool, limits: Limits, policy: Policy, now: float, *, most: int = 10) -> Summary:
    """How the space is used; `most` of the next that go. From the ledger: no walk of the tree."""
    with spool.ledger.changing() as transaction:
        dumps, hosts, use = transaction.dumps(), transaction.hosts(), transaction.use()
        receiving = {upload.directory for upload in transaction.uploads()}
    dumps = usage.marked(dumps, receiving)
    cores: dict[str, int] = defaultdict(int)
    groups: dict[str, list[Dump]] = defaultdict(list)
    for dump in dumps:
        cores[dump.host] += dump.cores > 0
        if dump.group is not None:
            groups[dump.group].append(dump)
    now_disk = disk(spool.root)
    done = plan(dumps, policy, now)
    going = [*(choice.dump for choice in done.drops if choice.act == "drop core"), *done.order]
    by_group = [
        GroupSpace(name, len(of), sum(dump.cores > 0 for dump in of), sum(map(_bytes, of)))
        for name, of in groups.items()
    ]
    return Summary(
        total=now_disk.total,
        free=now_disk.free,
        keep_free=bytes_of(limits.keep_free, now_disk.total),
        max_use=None if limits.max_use is None else bytes_of(limits.max_use, now_disk.total),
        bytes=use.bytes,
        reserved=use.reserved,
        dumps=len(dumps),
        cores=sum(cores.values()),
        pinned=sum(dump.pinned for dump in dumps),
        evictable=sum(dump.core_bytes for dump in going),
        hosts=tuple(
            HostSpace(
                host=of.host,
                dumps=of.dumps,
                cores=cores[of.host],
                bytes=of.use.bytes,
                reserved=of.use.reserved,
                quota=quota_of(limits, of.host, now_disk.total),
            )
            for of in hosts
        ),
        groups=tuple(sorted(by_group, key=lambda group: (-group.bytes, group.signature))),
        next=tuple(Going(dump.id, dump.directory, dump.host, dump.core_bytes) for dump in going[:most]),
    )


def choices(spool: Spool, policy: Policy, now: float, needs: list[Need] | None = None) -> Plan:
    """What retention would do now with every dump, and why; changes nothing."""
    return plan(usage.known(spool.ledger), policy, now, needs or [])


def _bytes(dump: Dump) -> int:
    return dump.core_bytes + dump.rest_bytes
