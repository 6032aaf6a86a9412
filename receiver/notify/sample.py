"""What `notify test` sends: a crash that did not happen, and says so."""

from __future__ import annotations

import json
from typing import Final

from receiver.catalogue.journal import Entry, stamp
from receiver.events import Reported, to_fields
from receiver.notify import message
from receiver.notify.deliver import Failed, client, open_target, post
from receiver.notify.run import SOURCE
from receiver.targets import Fence, Target

NOBODY: Final = "kdump-receiver-test.invalid"  # RFC 2606: nobody's node


async def send_sample(target: Target, now: float) -> None:
    """Tell one target. Raises Failed."""
    if isinstance(target, Fence):
        await _ask(target)
        return
    event = Reported(
        host=NOBODY,
        dump="0000000000",
        crash_class="test",
        title="This is a test of kdump-receiver: nothing crashed",
        verdict="complete",
    )
    entry = Entry(0, stamp(now), event.name, event.host, event.dump, to_fields(event))
    async with open_target(target) as deliver:
        await deliver(message.of_entry(entry, SOURCE))


async def _ask(target: Fence) -> None:
    """Evidence of a node that nobody has, which is none: a fence that would listen to us says 404."""
    body = json.dumps({"node": NOBODY, "phase": "failed", "age_seconds": 0.0}).encode()
    url = (target.url or "http://fence").rstrip("/") + "/v1/evidence"
    async with client(target) as opened:
        status = await post(opened, target, url, body, {"content-type": "application/json"})
    if status != 404:
        raise Failed(f"answered {status} for a node that does not exist")
