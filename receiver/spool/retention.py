"""Which cores stay and which go: dumps, a policy and the time in, a choice with its reason for each out.

What goes first is the core; the log, the report and the manifest outlive it. Nothing here
reads or removes anything: the same choices are shown by `prune --dry-run`, drawn on the page,
and carried out by receiver.spool.prune.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

DAY: Final = 86_400.0

Act = Literal["keep", "drop core", "drop dump"]
Kept = Literal["group-first", "group-last", "host-last"]
KEPT: Final[tuple[Kept, ...]] = ("group-first", "group-last", "host-last")


@dataclass(frozen=True, slots=True)
class Dump:
    """What retention knows of a dump. Bytes are those that the disk gave, so holes cost nothing."""

    id: str
    directory: str
    host: str
    group: str | None  # signature of its crash, once its log was read
    seconds: float  # when it came (Unix)
    complete: bool = False
    cores: int = 0  # files that go when the core goes
    core_bytes: int = 0  # of these
    rest_bytes: int = 0  # of log, report, manifest
    pinned: bool = False
    receiving: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's rules. None: no such rule."""

    core_seconds: float | None = None  # age of a core
    dump_seconds: float | None = None  # age of what outlived it
    cores_per_host: int | None = None
    cores_per_group: int | None = None  # complete ones, beside the first and the last
    keep: frozenset[Kept] = frozenset(KEPT)  # which cores no rule but the group's and a storm's drops
    evict: bool = True  # whether old cores go when space is short
    storm_cores: int | None = None  # of one group in `storm_seconds`
    storm_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Need:
    """So many bytes are to become free, of `host`'s dumps or of any; `why` says which limit asks."""

    bytes: int
    why: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What happens to a dump, and why; `frees` says how many bytes that gives."""

    dump: Dump
    act: Act
    reason: str
    frees: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A choice for each dump, oldest first; the needs that cannot be met, with the bytes that lack.

    `order` are the dumps whose cores go next when more space is needed. For a need that
    cannot be met nothing goes: a refused upload must not cost a stored one.
    """

    choices: tuple[Choice, ...]
    unmet: tuple[Need, ...] = ()
    order: tuple[Dump, ...] = ()

    @property
    def drops(self) -> tuple[Choice, ...]:
        """What goes."""
        return tuple(choice for choice in self.choices if choice.act != "keep")

    @property
    def frees(self) -> int:
        """Bytes that the drops give."""
        return sum(choice.frees for choice in self.choices)


def plan(dumps: Iterable[Dump], policy: Policy, now: float, needs: Sequence[Need] = ()) -> Plan:
    """Choose. `now` is Unix time in seconds."""
    ordered = sorted(dumps, key=lambda dump: (dump.seconds, dump.directory))
    held = {dump.directory: reason for dump in ordered if (reason := _untouchable(dump))}
    cores = [dump for dump in ordered if dump.cores]
    drops = {dump.directory: why for dump, why in _storms(cores, policy) if dump.directory not in held}
    drops |= {
        dump.directory: why
        for dump, why in _crowded_groups(cores, policy)
        if dump.directory not in held.keys() | drops.keys()
    }
    kept = held | {key: why for key, why in _kept(cores, policy).items() if key not in held.keys() | drops}
    for dump, why in (*_aged(cores, policy, now), *_crowded_hosts(cores, policy)):
        if dump.directory not in kept:
            drops.setdefault(dump.directory, why)
    order = [dump for dump in cores if dump.directory not in kept and dump.directory not in drops]
    unmet = _meet(needs, cores, order if policy.evict else [], drops)
    choices = [_choice(dump, kept, drops, policy, now) for dump in ordered]
    order = [dump for dump in order if dump.directory not in drops]
    return Plan(tuple(choices), tuple(unmet), tuple(order) if policy.evict else ())


def spare(dumps: Iterable[Dump], host: str) -> Choice | None:
    """The dump of `host` that goes first when it has too many: the oldest that holds no core."""
    without = [dump for dump in dumps if dump.host == host and not dump.cores and not _untouchable(dump)]
    oldest = min(without, key=lambda dump: (dump.group is not None, dump.seconds), default=None)
    if oldest is None:
        return None
    return Choice(oldest, "drop dump", f"{host} has too many dumps and this holds no core", oldest.rest_bytes)


def in_storm(earlier: Iterable[Dump], group: str | None, seconds: float, policy: Policy) -> str | None:
    """Why a core of `group` that comes at `seconds` shall not be kept; None when it shall."""
    if policy.storm_cores is None or group is None:
        return None
    window = policy.storm_seconds
    near = [d for d in earlier if d.group == group and d.cores and seconds - window < d.seconds <= seconds]
    return _storm(policy) if len(near) >= policy.storm_cores else None


def _choice(dump: Dump, kept: dict[str, str], drops: dict[str, str], policy: Policy, now: float) -> Choice:
    too_old = policy.dump_seconds is not None and now - dump.seconds > policy.dump_seconds
    if dump.directory in drops:
        return Choice(dump, "drop core", drops[dump.directory], dump.core_bytes)
    if dump.directory in kept:
        return Choice(dump, "keep", kept[dump.directory])
    if dump.cores:
        return Choice(dump, "keep", "no rule drops it")
    if too_old and policy.dump_seconds is not None:
        reason = f"holds no core and is older than {days(policy.dump_seconds)}"
        return Choice(dump, "drop dump", reason, dump.rest_bytes)
    return Choice(dump, "keep", "holds no core")


def _untouchable(dump: Dump) -> str | None:
    if dump.pinned:
        return "pinned"
    if dump.receiving:
        return "being received"
    return None


def _by_group(cores: Sequence[Dump]) -> dict[str, list[Dump]]:
    groups: dict[str, list[Dump]] = defaultdict(list)
    for dump in cores:
        if dump.group is not None:
            groups[dump.group].append(dump)
    return groups


def _kept(cores: Sequence[Dump], policy: Policy) -> dict[str, str]:
    kept: dict[str, str] = {}
    for members in _by_group(cores).values():
        if "group-first" in policy.keep:
            kept.setdefault(members[0].directory, "the first of its group")
            whole = next((dump for dump in members if dump.complete), None)
            if whole is not None:
                kept.setdefault(whole.directory, "the first complete one of its group")
        if "group-last" in policy.keep:
            kept.setdefault(members[-1].directory, "the last of its group")
    if "host-last" in policy.keep:
        for dump in {dump.host: dump for dump in cores}.values():
            kept.setdefault(dump.directory, "the last of its host")
    return kept


def _storms(cores: Sequence[Dump], policy: Policy) -> Iterable[tuple[Dump, str]]:
    """Those that came when `storm_cores` of their group had come shortly before, and were kept."""
    if policy.storm_cores is None:
        return
    for members in _by_group(cores).values():
        near: deque[float] = deque()
        for dump in members:
            while near and near[0] <= dump.seconds - policy.storm_seconds:
                near.popleft()
            if len(near) >= policy.storm_cores:
                yield dump, _storm(policy)
            else:
                near.append(dump.seconds)


def _storm(policy: Policy) -> str:
    return f"a storm: {policy.storm_cores} cores of its group came within {days(policy.storm_seconds)}"


def _crowded_groups(cores: Sequence[Dump], policy: Policy) -> Iterable[tuple[Dump, str]]:
    """All but the first, the last and `cores_per_group` complete ones, the oldest of those."""
    if policy.cores_per_group is None:
        return
    for members in _by_group(cores).values():
        between = members[1:-1]
        whole = [dump for dump in between if dump.complete]
        stay = {dump.directory for dump in whole[: policy.cores_per_group]}
        for dump in between:
            if dump.directory not in stay:
                what = f"beyond {policy.cores_per_group} complete ones" if dump.complete else "not complete"
                yield dump, f"{what}, and neither first nor last of its group"


def _aged(cores: Sequence[Dump], policy: Policy, now: float) -> Iterable[tuple[Dump, str]]:
    if policy.core_seconds is None:
        return
    why = f"older than {days(policy.core_seconds)}{_unless(policy)}"
    for dump in cores:
        if now - dump.seconds > policy.core_seconds:
            yield dump, why


def _crowded_hosts(cores: Sequence[Dump], policy: Policy) -> Iterable[tuple[Dump, str]]:
    if policy.cores_per_host is None:
        return
    newer: dict[str, int] = defaultdict(int)
    for dump in reversed(cores):
        if newer[dump.host] >= policy.cores_per_host:
            yield dump, f"{dump.host} has {policy.cores_per_host} newer ones{_unless(policy)}"
        newer[dump.host] += 1


def _meet(
    needs: Sequence[Need], cores: Sequence[Dump], order: Sequence[Dump], drops: dict[str, str]
) -> list[Need]:
    """Add to `drops`, oldest first, what meets each need; those that cannot be met change nothing."""
    unmet = []
    for need in sorted(needs, key=lambda need: need.host is None):  # what a host frees, all have
        ours = [dump for dump in cores if need.host in {None, dump.host}]
        lacking = need.bytes - sum(dump.core_bytes for dump in ours if dump.directory in drops)
        going = {}
        for dump in order:
            if lacking <= 0:
                break
            if dump.directory not in drops and need.host in {None, dump.host} and dump.core_bytes:
                going[dump.directory] = f"the oldest that may go, and {need.why}"
                lacking -= dump.core_bytes
        if lacking <= 0:
            drops |= going
        else:
            unmet.append(Need(lacking, need.why, need.host))
    return unmet


def _unless(policy: Policy) -> str:
    first, last = "group-first" in policy.keep, "group-last" in policy.keep
    match first, last:
        case True, True:
            return " and neither first nor last of its group"
        case True, False:
            return " and not the first of its group"
        case False, True:
            return " and not the last of its group"
    return ""


def days(seconds: float) -> str:
    """A span of time in the largest unit that it is a whole number of: ``90 days``, ``1 hour``."""
    for unit, name in ((365 * DAY, "year"), (DAY, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}{'s' * (count != 1)}"
    return f"{seconds:g} seconds"
