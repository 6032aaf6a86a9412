"""Where events are pushed to."""

from __future__ import annotations

from typing import Protocol

from fence.cloud import Stored


class Failed(Exception):
    """The target did not take the event. ``final``: nor will it, however often it is tried."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Target(Protocol):
    """Takes a CloudEvent; raises Failed."""

    async def __call__(self, stored: Stored, event: str) -> None: ...
