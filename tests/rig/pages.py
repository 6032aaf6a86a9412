"""The pages as an application by themselves, for tests of what they show."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.web.pages import errors
from receiver.web.pages.routes import routes
from receiver.web.pages.shelf import Desk


@dataclass(frozen=True)
class Viewer:
    """Who looks."""

    name: str = "anna"
    role: str = "operator"
    csrf: str = "a-token-against-forged-forms"


class SignedIn:
    """Every request is `viewer`'s."""

    def __init__(self, app: ASGIApp, viewer: Viewer) -> None:
        self._app, self._viewer = app, viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["viewer"] = self._viewer
        await self._app(scope, receive, send)


def application(desk: Desk, viewer: Viewer | None = None) -> Starlette:
    """The pages over `desk`."""
    made = Starlette(
        routes=routes,
        middleware=[Middleware(SignedIn, viewer=viewer or Viewer())],
        exception_handlers={HTTPException: errors.refused, 500: errors.broken},
    )
    made.state.desk = desk
    return made
