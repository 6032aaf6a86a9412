"""The whole web over a collection, as the desk makes it, and somebody who is logged in."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.types import ASGIApp

from receiver.events import Bus
from receiver.vitals import Vitals
from receiver.web import app
from receiver.web.access.logins import Logins
from receiver.web.access.sessions import Sessions
from receiver.web.access.viewer import Role
from receiver.web.desk import Desk
from receiver.web.metrics import Metrics
from tests.builders.collection import Collection

COOKIE = "kdump"  # as it is called without TLS


@dataclass(frozen=True)
class Person:
    """A session: what the browser keeps, and what its forms carry."""

    cookie: str
    csrf: str


def desk_over(made: Collection, *, loopback: bool = False) -> Desk:
    """A desk; with `loopback`, users of this machine need no login."""
    return Desk(
        settings=made.settings,
        spool=made.spool,
        catalogue=made.catalogue,
        journal=made.journal,
        keys=made.keys,
        tokens=made.tokens,
        logins=Logins(made.settings.state),
        sessions=Sessions(made.settings.state),
        bus=Bus(),
        vitals=Vitals(1),
        loopback=loopback,
    )


def application(made: Collection, *, loopback: bool = True) -> ASGIApp:
    """The pages, the API and their guard."""
    desk = desk_over(made, loopback=loopback)
    return app.application(desk, Metrics(desk))


def logged_in(made: Collection, role: Role, name: str = "anna") -> Person:
    """Somebody with a session."""
    desk, now = desk_over(made), time.time()
    login, _ = desk.logins.create(name=name, role=role, expires_in_seconds=3600, now=now)
    session = desk.sessions.begin(login.id, now)
    return Person(session.key, session.csrf)
