"""What the pages share in one process: the shelf, the fence's answer, the pulse for those who watch."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from receiver.web.pages.fences import FenceClient
from receiver.web.pages.pulse import Pulse
from receiver.web.pages.shelf import Desk, Shelf


@dataclass
class State:
    """Made with the first page that is asked for."""

    desk: Desk
    shelf: Shelf
    fence: FenceClient
    pulse: Pulse
    watchers: int = 0


def state_of(request: Request) -> State:
    """The one of this application."""
    found: State | None = getattr(request.app.state, "pages", None)
    if found is None:
        desk: Desk = request.app.state.desk
        shelf, fence = Shelf(desk), FenceClient(desk.settings)
        found = request.app.state.pages = State(desk, shelf, fence, Pulse(shelf, fence))
    return found
