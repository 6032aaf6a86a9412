"""Whether an upload may begin, decided before its first byte, and held to while it goes on.

What an upload will need is reserved in the ledger, which all serving processes share; so a
thousand clients at once are promised no byte twice. Where space is short the cores that
retention would drop next go first; only then is a client refused, in the words of its tool:
"No space left on device", or "Disk quota exceeded" where it is its host's quota.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from receiver.durable import locked, make_directory
from receiver.spool import incoming, prune, usage
from receiver.spool.clock import iso
from receiver.spool.dumps import Spool
from receiver.spool.ledger import ALL, Reservation, Transaction
from receiver.spool.manifest import Manifest
from receiver.spool.prune import Dropped
from receiver.spool.retention import Choice, Need, Policy, in_storm, plan, spare
from receiver.spool.space import Bound, Limits, Space, bounds, disk, quota_of, space

SMALL: Final = 1 << 20  # bytes that a log or a note is promised
CORE: Final = 4 << 20  # ... and a core of a host that never sent a whole one
STEP_MAX: Final = 1 << 30  # bytes that an upload of unknown size is promised at once
ORPHAN_SECONDS: Final = 60.0  # after which a promise without a growing file is void
TRIES: Final = 3  # to make room, when a plan was overtaken by a pin
VIEW_SECONDS: Final = 30.0  # that `df` may be behind on what eviction would give
SERVER: Final = "the server"


class NoRoom(OSError):
    """An upload does not fit; `why` says it with numbers, for the operator."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(number, os.strerror(number))
        self.why = why


class Admission:
    """The limits and the policy on one spool. Every method does quick file work, unless it must evict."""

    def __init__(
        self,
        spool: Spool,
        limits: Limits,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = time.time,
        dropped: Callable[[Dropped], None] = lambda _: None,
    ) -> None:
        """`dropped` hears of every dump that gave room."""
        self.limits = limits
        self.policy = policy or Policy()
        self._spool = spool
        self._ledger = spool.ledger
        self._clock = clock
        self._dropped = dropped
        self._pruning = spool.state / "pruning"
        self._seen = (0.0, 0, dict[str, int]())  # when, bytes that eviction gives in all, and by host

    def space(self, host: str) -> Space:
        """What `df` shall say to `host`: what admission would grant."""
        with self._ledger.changing() as transaction:
            found = self._bounds(transaction, host, exact=True)
        everything, by_host = self._evictable()
        return space(found, everything, by_host.get(host, 0))

    def check(self, host: str) -> None:
        """Whether anything at all may be written. Raises NoRoom."""
        with self._ledger.changing() as transaction:
            found = self._bounds(transaction, host)
        if min(bound.left for bound in found) <= 0:
            self._make_room(host, SMALL)

    def refuse_storm(self, dump: Manifest) -> None:
        """A core of a group of which enough have come shortly before. Raises NoRoom (EDQUOT)."""
        if self.policy.storm_cores is None or dump.signature is None:
            return
        with self._ledger.changing() as transaction:
            others = transaction.dumps(group=dump.signature)
        others = [other for other in others if other.directory != dump.directory]
        why = in_storm(others, dump.signature, self._clock(), self.policy)
        if why:
            raise NoRoom(errno.EDQUOT, f"{why}; its log is kept")

    def admit_dump(self, host: str) -> None:
        """One more dump of `host`, which may cost it one that holds no core. Raises NoRoom (EDQUOT)."""
        most = self.limits.dumps_per_host
        for _ in range(TRIES):
            with self._ledger.changing() as transaction:
                if transaction.count(host) < most:
                    return
                theirs = transaction.dumps(host=host)
                receiving = {upload.directory for upload in transaction.uploads()}
            choice = spare(usage.marked(theirs, receiving), host)
            if choice is None:
                break
            self._tell(prune.carry_out(self._spool, choice, iso(self._clock()), SERVER))
        raise NoRoom(errno.EDQUOT, f"{host} has {most} dumps, the most that `dumps_per_host` allows")

    def reserve(self, host: str, *, core: bool, expected_bytes: int = 0) -> Allowance:
        """Promise room to an upload: for what it declares, or for what its like took before.

        Raises NoRoom: ENOSPC, EDQUOT, or EFBIG beyond `max_dump_bytes`.
        """
        if expected_bytes > self.limits.max_dump_bytes:
            why = f"{expected_bytes} bytes, and `max_dump_bytes` is {self.limits.max_dump_bytes}"
            raise NoRoom(errno.EFBIG, why)
        id_ = secrets.token_hex(6)
        with self._ledger.changing() as transaction:
            size = expected_bytes or self._estimate(transaction, host, core=core)
            promised = Reservation(id_, host, None, size, self._clock())
            fits = self._fits(transaction, host, size)
            if fits:
                transaction.reserve(promised)
        if not fits:
            self._make_room(host, size, lambda transaction: transaction.reserve(promised))
        return Allowance(self, id_, host, size)

    def _estimate(self, transaction: Transaction, host: str, *, core: bool) -> int:
        """The smallest of its last cores: where not even that fits, no attempt would end well."""
        if not core:
            return SMALL
        smallest = transaction.smallest_core(host) or CORE
        return min(max(smallest, SMALL), self.limits.max_dump_bytes)

    def more(self, id_: str, host: str, promised: int, wanted: int) -> int:
        """Promise an upload `wanted` bytes more, or a step ahead; how many it is. Raises NoRoom."""
        ahead = max(wanted, min(max(promised, CORE), STEP_MAX))
        for size in (ahead, wanted):
            with self._ledger.changing() as transaction:
                if self._fits(transaction, host, size):
                    transaction.change(id_, bytes=promised + size)
                    return size
        self._make_room(host, wanted, lambda transaction: transaction.change(id_, bytes=promised + wanted))
        return wanted

    def settle(self, id_: str, dump: Manifest | None = None) -> None:
        """The upload is over: its dump counts from now on, and the promise does not."""
        row = None
        if dump is not None:
            with suppress(FileNotFoundError):
                row = usage.row(self._spool.root / dump.directory, dump)
        with self._ledger.changing() as transaction:
            transaction.release(id_)
            if row is not None:
                transaction.enter(row)

    def begun(self, id_: str, dump: Manifest) -> None:
        """The upload writes into `dump`: that counts, and is not dropped meanwhile."""
        with self._ledger.changing() as transaction:
            transaction.change(id_, directory=dump.directory)
            if not dump.files and not dump.removed:
                transaction.enter(usage.row(self._spool.root / dump.directory, dump))

    def tidy(self) -> None:
        """Take back what was promised to uploads whose process died."""
        with self._ledger.changing() as transaction:
            old = [one for one in transaction.uploads() if self._clock() - one.since > ORPHAN_SECONDS]
        # Not while the ledger is held: who holds the dump may wait for that.
        void = [upload for upload in old if not self._grows(upload)]
        if void:
            with self._ledger.changing() as transaction:
                for upload in void:
                    transaction.release(upload.id)

    def _fits(self, transaction: Transaction, host: str, size: int) -> bool:
        """Whether no limit is exceeded; the quick look supposes that no upload has written anything yet."""
        looks = (self._bounds(transaction, host, exact=exact) for exact in (False, True))
        return any(all(bound.left >= size for bound in found) for found in looks)

    def _bounds(self, transaction: Transaction, host: str, *, exact: bool = False) -> list[Bound]:
        everything = transaction.use()
        coming = everything.reserved
        if exact:
            coming = sum(max(0, upload.bytes - self._written(upload)) for upload in transaction.uploads())
        return bounds(self.limits, disk(self._spool.root), coming, everything, host, transaction.use(host))

    def _make_room(self, host: str, size: int, then: Callable[[Transaction], None] = lambda _: None) -> None:
        """Drop what must go for `size` bytes of `host`, and do `then` while nobody else can. Raises NoRoom.

        One process at a time: what a plan counts on is not given to another one.
        """
        make_directory(self._pruning)
        with locked(self._pruning):
            self.tidy()
            stuck: set[str | None] = set()
            for attempt in range(TRIES + 1):
                with self._ledger.changing() as transaction:
                    lacking = [
                        bound for bound in self._bounds(transaction, host, exact=True) if bound.left < size
                    ]
                    if not lacking:
                        return then(transaction)
                needs = [
                    Need(size - bound.left, f"{bound.name} has no room", bound.host) for bound in lacking
                ]
                if attempt == TRIES or not self._evict(needs, stuck):
                    break
        short = max(lacking, key=lambda bound: (bound.errno == errno.EDQUOT, -bound.left))
        raise NoRoom(short.errno, f"{short.text()}, and {size} bytes were to come")

    def overruns(self) -> list[Need]:
        """What would have to go for every limit to hold again."""
        with self._ledger.changing() as transaction:
            found = self._bounds(transaction, ALL, exact=True)
            total = disk(self._spool.root).total
            for host in transaction.hosts():
                quota = quota_of(self.limits, host.host, total)
                if quota is not None:
                    left = quota - host.use.whole
                    found.append(Bound("quota", left, quota, errno.EDQUOT, host.host))
        return [Need(-bound.left, bound.text(), bound.host) for bound in found if bound.left < 0]

    def enforce(self) -> list[Need]:
        """Make the limits hold again, after they changed or others filled the disk; what lacks for that."""
        make_directory(self._pruning)
        with locked(self._pruning):
            self.tidy()
            for need in self.overruns():
                self._evict([need], set())
            return self.overruns()

    def carry_out(self, choice: Choice, by: str = SERVER) -> Dropped | None:
        """One choice of a plan, as prune.carry_out; `dropped` hears of it."""
        make_directory(self._pruning)
        with locked(self._pruning):
            dropped = prune.carry_out(self._spool, choice, iso(self._clock()), by)
        self._tell(dropped)
        return dropped

    def _evict(self, needs: Sequence[Need], stuck: set[str | None]) -> bool:
        """Drop the oldest cores that may go until `needs` are met; nothing where they cannot be.

        What could not be dropped after all is `stuck`, and not counted on the next time.
        """
        if not self.policy.evict:
            return False
        found = plan(usage.marked(usage.known(self._ledger), stuck), self.policy, self._clock(), needs)
        if found.unmet:
            return False
        lacking = {need.host: need.bytes for need in sorted(needs, key=lambda need: need.bytes)}
        for choice in found.drops:
            scopes = (None, choice.dump.host)
            if choice.act != "drop core" or all(lacking.get(scope, 0) <= 0 for scope in scopes):
                continue
            dropped = prune.carry_out(self._spool, choice, iso(self._clock()), SERVER)
            if dropped is None:
                stuck.add(choice.dump.directory)
                continue
            self._tell(dropped)
            for scope in scopes:
                lacking[scope] = lacking.get(scope, 0) - dropped.bytes
        return True

    def _evictable(self) -> tuple[int, dict[str, int]]:
        """Bytes that go when they must, of all hosts and of each."""
        when, everything, by_host = self._seen
        now = self._clock()
        if self.policy.evict and not 0 <= now - when < VIEW_SECONDS:
            plan_ = plan(usage.known(self._ledger), self.policy, now)
            by_host = {}
            for dump in (*plan_.order, *(choice.dump for choice in plan_.drops)):
                by_host[dump.host] = by_host.get(dump.host, 0) + dump.core_bytes
            everything = sum(by_host.values())
            self._seen = (now, everything, by_host)
        return everything, by_host

    def _tell(self, dropped: Dropped | None) -> None:
        if dropped is not None:
            self._seen = (0.0, 0, {})
            self._dropped(dropped)

    def _growing(self, upload: Reservation) -> Path:
        return self._spool.root / (upload.directory or "") / f"{incoming.PREFIX}{upload.id}"

    def _grows(self, upload: Reservation) -> bool:
        return upload.directory is not None and incoming.is_live(self._growing(upload))

    def _written(self, upload: Reservation) -> int:
        try:
            return self._growing(upload).stat().st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):
            return 0


class Allowance:
    """What one upload may write. Not thread-safe, as the upload itself."""

    def __init__(self, admission: Admission, id_: str, host: str, size: int) -> None:
        self._admission = admission
        self._host = host
        self._promised = size
        self.id = id_
        self.left = size  # bytes that may be written before more must be asked for

    def more(self, lacking: int) -> None:
        """Ask for at least `lacking` bytes more. Raises NoRoom."""
        size = self._admission.more(self.id, self._host, self._promised, lacking)
        self._promised += size
        self.left += size

    def begun(self, dump: Manifest) -> None:
        """It is written into `dump`."""
        self._admission.begun(self.id, dump)

    def settle(self, dump: Manifest | None = None) -> None:
        """It is stored in `dump`, or lost. A ledger that cannot be written now is brought up later."""
        with suppress(OSError):
            self._admission.settle(self.id, dump)
