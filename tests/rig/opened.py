"""A running receiver's stores, opened by another process, as the desk does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from receiver import settings, stores
from receiver.catalogue.store import Catalogue
from receiver.hosts.keys import HostKeys
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool.dumps import Spool
from tests.builders.collection import NoJournal
from tests.rig.receiver import Receiver


@dataclass
class Opened:
    """A desk over `receiver`."""

    receiver: Receiver
    settings: Settings = field(init=False)
    spool: Spool = field(init=False)
    catalogue: Catalogue = field(init=False)
    keys: HostKeys = field(init=False)
    tokens: Tokens = field(init=False)
    journal: Any = field(default_factory=NoJournal)

    def __post_init__(self) -> None:
        listen = (f"127.0.0.1:{self.receiver.port}",)
        self.settings = settings.load(self.receiver.config, listen=listen)
        self.spool = stores.open_spool(self.settings)
        self.catalogue = stores.open_catalogue(self.settings)
        self.keys = HostKeys(self.settings.state)
        self.tokens = Tokens(self.settings.state)
