"""What Prometheus asks for: counters from the journal, gauges from the stores and the processes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from receiver import stores
from receiver.durable import write_file
from receiver.spool.summary import Summary, summary
from receiver.vitals import Sign
from receiver.web.api.events import Streams
from receiver.web.desk import Desk
from receiver.web.download import Downloads
from receiver.web.tally import BUCKETS, Tally, from_json

PREFIX: Final = "kdump_receiver_"
BATCH: Final = 2000
KEPT: Final = "metrics.json"
GAUGES_SECONDS: Final = 5.0  # that what costs a look at the stores is kept
COUNTERS: Final = (
    ("uploads", "Cores received, by verdict and kdump client, and what failed", ("result", "client")),
    ("files", "Logs and other files received, by verdict and kdump client", ("result", "client")),
    ("uploads_started", "Uploads that began, of whatever file", ()),
    ("upload_bytes", "Logical bytes stored", ()),
    ("upload_wire_bytes", "Bytes received for them", ()),
    ("refused", "What was refused, and why", ("what", "reason")),
    ("reports", "Dumps whose log was read, by crash class", ("class",)),
    ("groups_new", "Crashes unlike all before", ()),
    ("pruned", "Cores and dumps that retention took", ("what",)),
    ("pruned_bytes", "Bytes that retention freed", ()),
    ("keys_enrolled", "Keys that hosts enrolled with a token", ()),
    ("events_withheld", "Events that only the log has", ()),
    ("notifications_given_up", "Notifications that were never delivered", ()),
    ("troubles", "Failures of ours that work went on without", ()),
)


class Metrics:
    """One for the process; `text` blocks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._tally = self._load()
        self._save()
        self._summary: tuple[float, Summary] | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> tuple[bytes, str]:
        """The metrics, and their media type. Raises SQLAlchemyError."""
        with self._lock:
            self.catch_up()
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Metric]:
        """All families, as they are now; called while the lock is held."""
        yield from self._counted()
        yield from self._space()
        yield from self._stored()
        yield from self._processes()

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: collecting asks the stores."""
        return ()

    def catch_up(self) -> None:
        """Count what happened since; raises SQLAlchemyError."""
        journal, clients = self._desk.journal, self._desk.catalogue.client_of
        before = self._tally.id
        while entries := journal.after(self._tally.id, BATCH):
            self._tally.fold(entries, clients)
        if self._tally.id != before:
            self._save()

    def keep_up(self) -> None:
        """Count now and then, though nobody asks: the journal forgets."""
        with self._lock, suppress(sa.exc.SQLAlchemyError):  # away: later, then
            self.catch_up()

    def _save(self) -> None:
        """For the next process: it goes on counting where this one stood."""
        with suppress(OSError):  # a full disk: the next one counts again from an older id
            write_file(self._desk.settings.state / KEPT, self._tally.as_json(), sync=False)

    def _load(self) -> Tally:
        last = self._desk.journal.last_id()
        try:
            kept = from_json((self._desk.settings.state / KEPT).read_bytes())
            if kept.id <= last:
                return kept
        except (OSError, ValueError):
            pass
        # Nothing counted, or a journal that is gone: a counter begins at zero, and counts what is new.
        return Tally(last)

    def _counted(self) -> Iterator[Metric]:
        for name, text, labels in COUNTERS:
            found = self._tally.counts.get(name, {})
            samples = [(tuple(json.loads(key)), value) for key, value in found.items()]
            yield _counter(name, text, labels, samples or ([] if labels else [((), 0.0)]))
        total, buckets = 0, []
        for place, count in enumerate(self._tally.buckets):
            total += count
            buckets.append((str(BUCKETS[place]) if place < len(BUCKETS) else "+Inf", float(total)))
        histogram = HistogramMetricFamily(PREFIX + "upload_seconds", "How long vmcores took to arrive")
        histogram.add_metric([], buckets, self._tally.seconds)
        yield histogram

    def _space(self) -> Iterator[Metric]:
        now = self._room()
        gauges = (
            ("disk_bytes", "Of the spool's file system", now.total),
            ("disk_free_bytes", "Free on it", now.free),
            ("keep_free_bytes", "That dumps leave free", now.keep_free),
            ("used_bytes", "That dumps take on disk", now.bytes),
            ("reserved_bytes", "Promised to uploads under way", now.reserved),
            ("evictable_bytes", "Of cores that may go when space is short", now.evictable),
            ("pinned_dumps", "Dumps that stay", now.pinned),
            ("dumps_with_core", "Dumps whose core is there", now.cores),
        )
        for name, text, value in gauges:
            yield _gauge(name, text, (), [((), float(value))])
        limit = [] if now.max_use is None else [((), float(now.max_use))]
        yield _gauge("max_use_bytes", "That dumps may take, where that is limited", (), limit)
        # Not a series a host: ten thousand of them. The fullest one tells whether to look.
        fullest = max((of.bytes / of.quota for of in now.hosts if of.quota), default=0.0)
        yield _gauge("quota_fullest_ratio", "Use of the quota that is fullest", (), [((), fullest)])

    def _stored(self) -> Iterator[Metric]:
        catalogue = self._desk.catalogue
        by_verdict = [((verdict,), float(count)) for verdict, count in sorted(catalogue.counts().items())]
        yield _gauge("dumps", "Dumps by verdict", ("verdict",), by_verdict)
        yield _gauge("groups", "Groups of crashes", (), [((), float(catalogue.groups()))])
        yield _gauge("journal_last_id", "The newest event", (), [((), float(self._tally.id))])

    def _processes(self) -> Iterator[Metric]:
        vitals, now = self._desk.vitals, time.monotonic()
        names = [f"worker{place}" for place in range(vitals.places - 1)] + ["desk"]
        signs = [((name,), vitals.read(place)) for place, name in enumerate(names)]
        label = ("process",)
        columns: Sequence[tuple[str, str, Callable[[Sign], float]]] = (
            ("event_loop_lag_seconds", "How late the loop turned last", lambda sign: sign.lag_seconds),
            (
                "event_loop_lag_most_seconds",
                "The latest since it started",
                lambda sign: sign.lag_most_seconds,
            ),
            ("connections", "Open now, of SSH or the web", lambda sign: sign.connections),
            ("uploads_in_flight", "Uploads under way", lambda sign: sign.uploads),
            ("silent_seconds", "Since the process gave a sign of life", lambda sign: now - sign.beaten),
        )
        for name, text, value in columns:
            yield _gauge(name, text, label, [(key, float(value(sign))) for key, sign in signs])
        starts = [(key, float(sign.starts)) for key, sign in signs]
        yield _counter("process_starts", "Processes that had this place", label, starts)
        yield _gauge("event_streams", "Streams of events", (), [((), float(Streams.running))])
        yield _gauge("downloads", "Downloads under way", (), [((), float(Downloads.running))])
        info = InfoMetricFamily(PREFIX + "build", "This program")
        info.add_metric([], {"version": _version()})
        yield info

    def _room(self) -> Summary:
        now = time.monotonic()
        if self._summary is None or now - self._summary[0] > GAUGES_SECONDS:
            desk = self._desk
            limits, policy = stores.limits_of(desk.settings), stores.policy_of(desk.settings)
            self._summary = now, summary(desk.spool, limits, policy, time.time(), most=0)
        return self._summary[1]


def _version() -> str:
    from importlib.metadata import version

    return version("kdump-net")


def _gauge(name: str, text: str, labels: Sequence[str], samples: Sequence[Any]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], samples: Sequence[Any]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family
