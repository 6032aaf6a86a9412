"""Retention as the server does it: rules on a timer, storms as they come, limits that are exceeded."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from receiver import stores
from receiver.catalogue.store import Catalogue
from receiver.events import Bus, Pruned, Trouble
from receiver.settings import Settings
from receiver.spool import usage
from receiver.spool.admission import SERVER, Admission
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest
from receiver.spool.prune import Dropped
from receiver.spool.retention import Choice, Need, plan

AT_ONCE: Final = 500  # dumps of one run; the next run goes on


class Pruner:
    """What retention does to one spool, told to the catalogue and the bus."""

    def __init__(self, settings: Settings, spool: Spool, catalogue: Catalogue, bus: Bus) -> None:
        self._spool = spool
        self._catalogue = catalogue
        self._bus = bus
        self._told = ""  # the last trouble, which is not told again each time
        self.admission = Admission(
            spool, stores.limits_of(settings), stores.policy_of(settings), dropped=self._dropped
        )

    def run(
        self,
        stop: Callable[[], bool] = lambda: False,
        *,
        by: str = SERVER,
        done: Callable[[Choice], None] = lambda _: None,
        most: int | None = AT_ONCE,
    ) -> list[Need]:
        """The rules, then the limits; `done` hears of each choice that was tried. What still lacks."""
        found = plan(usage.known(self._spool.ledger), self.admission.policy, time.time())
        for choice in found.drops[:most]:
            if stop():
                return []
            try:
                self.admission.carry_out(choice, by)
            except Exception as error:  # that dump is left as it is; the others are looked at
                self._bus.tell(Trouble(f"{self._spool.root / choice.dump.directory}", str(error)))
            done(choice)
        lacking = self.admission.enforce()
        told = "; ".join(need.why for need in lacking)
        if told and told != self._told:
            self._bus.tell(Trouble("space", f"{told}; nothing that may go is left"))
        self._told = told
        return lacking

    def after_report(self, dump: Manifest) -> bool:
        """Drop the core of a dump whose group storms; whether it did."""
        policy = self.admission.policy
        if policy.storm_cores is None or dump.signature is None:
            return False
        storms = replace(
            policy, core_seconds=None, dump_seconds=None, cores_per_host=None, cores_per_group=None
        )
        with self._spool.ledger.changing() as transaction:
            group = transaction.dumps(group=dump.signature)
        chosen = [choice for choice in plan(group, storms, time.time()).drops if choice.dump.id == dump.id]
        return any(self.admission.carry_out(choice) is not None for choice in chosen)

    def _dropped(self, dropped: Dropped) -> None:
        choice, dump = dropped.choice, dropped.choice.dump
        with suppress(Exception):  # a catalogue that is away: `behind` says that it lacks this
            stores.enlist(self._spool, self._catalogue, dump.directory)
        what = choice.act.removeprefix("drop ")
        self._bus.tell(
            Pruned(dump.host, dump.id, dump.directory, what, dropped.bytes, dropped.by, choice.reason)
        )
