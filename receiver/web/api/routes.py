"""Every route that answers programs."""

from __future__ import annotations

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """The API's, health and metrics."""
    return []
