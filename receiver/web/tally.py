"""Counters as a fold over the journal: every worker process counts, and none twice. Sans-IO.

They are kept with the id they were counted up to, so that a restart goes on counting: a counter
that fell would look like a reset, and all it had counted like news. What a client controls
becomes a label only out of a bounded list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from receiver.catalogue.journal import Entry
from receiver.dump.worth import Verdict
from receiver.wire.families import Family

BUCKETS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)  # seconds
LABELS_MAX: Final = 64  # values of one label; what comes then is counted as ``other``
OTHER: Final = "other"
_VERDICTS: Final = {str(verdict) for verdict in Verdict}
_WORD: Final = re.compile(r"[\w-]{1,40}", re.ASCII)
_HOW: Final = {"key", "certificate", "token", "web"}

Client = Callable[[str], str | None]  # a dump's id to the kdump that sent it


@dataclass
class Tally:
    """What was counted up to the event `id`; `counts` by metric and then by labels."""

    id: int = 0
    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def fold(self, entries: Iterable[Entry], client_of: Client) -> None:
        """Count these, the oldest first."""
        for entry in entries:
            if entry.id > self.id:
                self._count(entry, client_of)
                self.id = entry.id

    def add(self, metric: str, labels: tuple[str, ...] = (), by: float = 1) -> None:
        """One more."""
        found = self.counts.setdefault(metric, {})
        key = json.dumps(labels)
        if key not in found and len(found) >= LABELS_MAX:
            key = json.dumps([OTHER] * len(labels))
        found[key] = found.get(key, 0) + by

    def _count(self, entry: Entry, client_of: Client) -> None:
        said = entry.fields
        match entry.name:
            case "upload.finished":
                self._finished(said, client_of(entry.dump) if entry.dump else None)
            case "upload.started":
                self.add("uploads_started")
            case "upload.failed":
                self.add("uploads", ("failed", "unknown"))
            case "upload.refused":
                self.add("refused", ("upload", _bound(str(said.get("reason", "")))))
            case "login.refused":
                how = str(said.get("how", ""))
                self.add("refused", ("login", how if how in _HOW else OTHER))
            case "command.refused":
                self.add("refused", ("command", "not a kdump client's"))
            case "dump.reported":
                self.add("reports", (_word(said.get("crash_class")),))
            case "group.new":
                self.add("groups_new")
            case "dump.pruned":
                self.add("pruned", (_word(said.get("what")),))
                self.add("pruned_bytes", (), _amount(said.get("bytes")))
            case "key.enrolled":
                self.add("keys_enrolled")
            case "events.withheld":
                self.add("events_withheld", (), _amount(said.get("count")))
            case "notify.gave_up":
                self.add("notifications_given_up", (), _amount(said.get("count")))
            case "trouble":
                self.add("troubles")

    def _finished(self, said: dict[str, Any], client: str | None) -> None:
        verdict = str(said.get("verdict", ""))
        family = Family.from_text(client or "").label
        metric = "uploads" if said.get("core") else "files"
        self.add(metric, (verdict if verdict in _VERDICTS else OTHER, family))
        self.add("upload_bytes", (), _amount(said.get("bytes")))
        self.add("upload_wire_bytes", (), _amount(said.get("wire_bytes")))
        if said.get("core"):
            seconds = _amount(said.get("seconds"))
            self.seconds += seconds
            place = next((place for place, most in enumerate(BUCKETS) if seconds <= most), len(BUCKETS))
            self.buckets[place] += 1

    def as_json(self) -> bytes:
        """For the next process."""
        kept = {"id": self.id, "counts": self.counts, "buckets": self.buckets, "seconds": self.seconds}
        return json.dumps(kept).encode()


def from_json(data: bytes) -> Tally:
    """What `as_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        kept = json.loads(data)
        counts = {
            str(metric): {str(key): float(value) for key, value in found.items()}
            for metric, found in kept["counts"].items()
        }
        buckets = [int(count) for count in kept["buckets"]]
        if len(buckets) != len(BUCKETS) + 1 or not all(
            isinstance(json.loads(key), list) for found in counts.values() for key in found
        ):
            raise ValueError("not these buckets or labels")
        return Tally(int(kept["id"]), counts, buckets, float(kept["seconds"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no tally of ours: {error!r}") from None


def _bound(reason: str) -> str:
    """Which limit an upload met, from the sentence that says so."""
    if "quota" in reason:
        return "quota"
    for name in ("max_use", "keep_free", "max_dump_bytes", "dumps_per_host"):
        if name in reason:
            return name
    return OTHER


def _word(value: object) -> str:
    """A word of our own rules; anything else is not let in."""
    text = str(value)
    return text if _WORD.fullmatch(text) else OTHER


def _amount(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0
