"""The application: the pages, the API, health and metrics behind one guard."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from receiver.web import problem
from receiver.web.access import login
from receiver.web.access.guard import Guard
from receiver.web.api import routes as api
from receiver.web.desk import Desk
from receiver.web.metrics import Metrics
from receiver.web.pages import routes as pages


def routes() -> list[BaseRoute]:
    """Every route, in the order in which they are tried."""
    return [*api.routes(), *login.routes, *pages.routes]


def application(desk: Desk, metrics: Metrics) -> ASGIApp:
    """All of it over `desk`."""
    inside = Starlette(
        routes=routes(),
        exception_handlers={HTTPException: problem.refused, 500: problem.broken},
    )
    inside.state.desk = desk
    inside.state.metrics = metrics
    return Guard(inside, desk)
