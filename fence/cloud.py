"""An event as CloudEvents 1.0 JSON (github.com/cloudevents/spec, spec.md and formats/json-format.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

PREFIX = "kdump-net.fence."


@dataclass(frozen=True, slots=True)
class Stored:
    """An event with its place in the journal. ``time`` is Unix time, ``data`` one line of JSON."""

    id: int
    time: float
    kind: str
    node: str | None
    data: str


def iso(wall: float) -> str:
    """Unix time for people."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cloud_event(stored: Stored, source: str) -> str:
    """The whole CloudEvent in one line."""
    subject = f'"subject":{json.dumps(stored.node)},' if stored.node is not None else ""
    return (
        f'{{"specversion":"1.0","id":"{stored.id}","source":{json.dumps(source)},'
        f'"type":"{PREFIX}{stored.kind}",{subject}"time":"{iso(stored.time)}",'
        f'"datacontenttype":"application/json","data":{stored.data}}}'
    )
