"""A program that is run for an event."""

from __future__ import annotations

import json
import os

import trio

from fence.cloud import Stored
from fence.settings import Program
from fence.target import Failed


class ProgramTarget:
    """Runs a program: the CloudEvent on its stdin, the most useful of it in its environment."""

    def __init__(self, settings: Program) -> None:
        self._settings = settings

    async def __call__(self, stored: Stored, event: str) -> None:
        """Raises Failed where it cannot be run, ends with another status than 0, or takes too long."""
        data = json.loads(stored.data)
        environment = {
            "KDUMP_FENCE_ID": str(stored.id),
            "KDUMP_FENCE_EVENT": stored.kind,
            "KDUMP_FENCE_NODE": stored.node or "",
            "KDUMP_FENCE_GRADE": str(data.get("grade", "")),
            "KDUMP_FENCE_STATE": str(data.get("state", "")),
        }
        with trio.move_on_after(self._settings.timeout_seconds) as limit:
            try:
                done = await trio.run_process(
                    list(self._settings.argv),
                    stdin=event.encode(),
                    stdout=2,  # ours is for the ready line
                    check=False,
                    env=os.environ | environment,
                )
            except OSError as error:
                raise Failed(f"{self._settings.argv[0]}: {error.strerror}") from None
        if limit.cancelled_caught:
            raise Failed(f"{self._settings.argv[0]} took longer than {self._settings.timeout_seconds:g} s")
        if done.returncode:
            raise Failed(f"{self._settings.argv[0]} ended with {done.returncode}")
