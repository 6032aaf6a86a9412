"""What a fence is told of uploads under way. Sans-IO.

Only bytes that came are evidence: a note that did not grow since the last beat says nothing, and
each post says how old its news is (docs/fence-api.md).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from receiver.catalogue.journal import Entry
from receiver.events import UploadFinished
from receiver.spool import attempts
from receiver.spool.incoming import Incoming
from receiver.targets import Fence

FRESH_SECONDS: Final = 10.0  # a note that is older when it is first seen was left by a process that died
FORGOTTEN_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A note, and when it was written (seconds of the epoch)."""

    note: Incoming
    written: float


@dataclass(slots=True)
class Beats:
    """Which uploads a fence was told of, and how far they were then."""

    target: Fence
    by: str
    told: dict[str, tuple[int, float]] = field(default_factory=dict)  # id ▸ wire bytes, as of when

    def posts(self, seen: Sequence[Seen], now: float) -> list[dict[str, Any]]:
        """The evidence of this moment."""
        for id_ in [id_ for id_, (_, at) in self.told.items() if now - at > FORGOTTEN_SECONDS]:
            del self.told[id_]
        return [post for one in seen if (post := self._post(one, now)) is not None]

    def _post(self, one: Seen, now: float) -> dict[str, Any] | None:
        note, age = one.note, max(0.0, now - one.written)
        before = self.told.get(note.id)
        if not _is_core(note) or not chosen(self.target, note.host) or age > FRESH_SECONDS:
            return None
        if note.wire_bytes <= (before[0] if before else 0):  # nothing of a dump has come
            return None
        self.told[note.id] = note.wire_bytes, now
        post: dict[str, Any] = {
            "node": node_of(self.target, note.host),
            "phase": "progress" if before else "started",
            "age_seconds": round(age, 3),
            "upload": note.directory,
            "done_bytes": note.bytes,
            "by": self.by,
        }
        if note.fraction:
            post["total_bytes"] = max(note.bytes, round(note.bytes / note.fraction))
        return post


def ended(target: Fence, entry: Entry, by: str, seconds: float, now: float) -> dict[str, Any] | None:
    """The evidence of an upload's end, which happened at `seconds`; None where it is none of a core."""
    fields = entry.fields
    host = str(fields.get("host", ""))
    post: dict[str, Any] = {
        "node": node_of(target, host),
        "phase": "failed",
        "age_seconds": round(max(0.0, now - seconds), 3),
        "by": by,
    }
    if entry.name == UploadFinished.name:
        post |= {"upload": fields.get("directory"), "done_bytes": fields.get("bytes")}
        if fields.get("verdict") == "complete":
            post |= {"phase": "finished", "total_bytes": fields.get("bytes")}
        return post
    name = str(fields.get("file", "")).rpartition("/")[2]
    return post if attempts.is_core(name, "empty") else None


def chosen(target: Fence, host: str) -> bool:
    """Whether this fence is told of this host."""
    return any(fnmatch.fnmatchcase(host, pattern) for pattern in target.hosts)


def node_of(target: Fence, host: str) -> str:
    """What the cluster calls the host."""
    return target.nodes.get(host, host)


def _is_core(note: Incoming) -> bool:
    return bool(note.requested) and attempts.is_core(note.requested[-1], note.kind)
