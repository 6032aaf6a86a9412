"""A collector that has been at work: hosts, dumps over weeks, their reports, all in the catalogue."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from receiver import reports, stores
from receiver.catalogue.store import Catalogue
from receiver.hosts.contacts import Contact, Contacts
from receiver.hosts.keys import HostKeys
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool.clock import iso
from receiver.spool.dumps import Spool
from receiver.spool.hashing import with_digest
from receiver.spool.manifest import Manifest
from tests.builders.uploads import Host, ticking

DAY = 86_400.0


@dataclass
class NoJournal:
    """A journal in which nothing was written but that things happened."""

    last: int = 0

    def last_id(self) -> int:
        return self.last

    def newest(self, limit: int, *, names: Iterable[str] | None = None) -> list[Any]:
        return []


@dataclass
class Collection:
    """Everything below `directory`; it is a desk for the pages, too."""

    directory: Path
    settings: Settings = field(init=False)
    spool: Spool = field(init=False)
    catalogue: Catalogue = field(init=False)
    keys: HostKeys = field(init=False)
    tokens: Tokens = field(init=False)
    journal: NoJournal = field(default_factory=NoJournal)
    now: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.settings = Settings(root=self.directory / "spool", keep_free=0)
        self.spool = stores.open_spool(self.settings)
        self.catalogue = stores.open_catalogue(self.settings)
        self.keys = HostKeys(self.settings.state)
        self.tokens = Tokens(self.settings.state)

    def close(self) -> None:
        self.catalogue.close()

    def enrol(self, name: str, *, seen_days_ago: float | None = 0.0, peer: str = "192.0.2.7") -> None:
        """A host with a key, that was here."""
        self.keys.add(name, _public_key(f"root@{name}"))
        if seen_days_ago is not None:
            at = iso(self.now - seen_days_ago * DAY)
            Contacts(self.settings.state).note(Contact(name, peer, at, "key"))

    def crash(
        self,
        host: str,
        log: bytes,
        *,
        days_ago: float = 0.0,
        core: bytes | None = None,
        broken: str | None = None,
    ) -> Manifest:
        """`host` crashed and sent its log, and its core where there is one."""
        began = self.now - days_ago * DAY
        sender = Host(self.spool, host, clock=ticking(began))
        directory = f"/var/crash/{host}-{iso(began)}"
        stored = None
        if log:
            stored = sender.send(f"{directory}/vmcore-dmesg.txt", log)
        if core is not None:
            stored = sender.send(f"{directory}/vmcore", core, broken=broken)
        assert stored is not None
        return self.look_after(stored.dump.directory, began + 60)

    def test(self, host: str, *, succeeded: bool, days_ago: float = 0.0) -> Manifest:
        """`kdumpctl test` on `host`."""
        began = self.now - days_ago * DAY
        sender = Host(self.spool, host, clock=ticking(began))
        word = b"success" if succeeded else b"fail"
        path = f"/var/crash/kdump-test-{began:.0f}/vmcore-creation.status"
        stored = sender.send(path, word + b" kdump_test_id=1-2\n", tool="echo")
        return self.look_after(stored.dump.directory, began)

    def look_after(self, directory: str, at: float) -> Manifest:
        """What the server does behind an upload: the report, the hashes, the catalogue."""
        dump = reports.write(self.spool, directory, iso(at))
        for file in dump.files:
            if file.sha256 is None:
                dump = with_digest(self.spool, directory, file.name, lambda: False)
        self.catalogue.record(dump)
        self.journal.last += 1
        return dump


def _public_key(comment: str) -> str:
    return asyncssh.generate_private_key("ssh-ed25519", comment=comment).export_public_key().decode()
