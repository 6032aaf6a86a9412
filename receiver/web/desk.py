"""What the desk process hands to every part of the web."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.catalogue.journal import Journal
from receiver.catalogue.store import Catalogue
from receiver.events import Bus
from receiver.hosts.keys import HostKeys
from receiver.hosts.tokens import Tokens
from receiver.settings import Settings
from receiver.spool.dumps import Spool
from receiver.vitals import Vitals
from receiver.web.access.logins import Logins
from receiver.web.access.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Desk:
    """The stores, opened once for the process; all of their methods block."""

    settings: Settings
    spool: Spool
    catalogue: Catalogue
    journal: Journal
    keys: HostKeys
    tokens: Tokens
    logins: Logins
    sessions: Sessions
    bus: Bus
    vitals: Vitals
    ssh: tuple[str, ...] = ()  # HOST:PORT of each address that clients come to
    loopback: bool = True  # the web answers nobody else, so users of this machine need no login
