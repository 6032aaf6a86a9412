"""The daemon's numbers for Prometheus, read from where they are kept when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fence.daemon import Daemon
from fence.events import Grade, State
from fence.listen import Ear
from fence.node import Liveness
from fence.push import Pusher
from fence.udp import bound

PREFIX = "kdump_fence_"


class Numbers(Collector):
    """A collector over the daemon."""

    def __init__(
        self, daemon: Daemon, ears: list[Ear], pushers: list[Pusher], problems: Callable[[], list[str]]
    ) -> None:
        self._daemon = daemon
        self._ears = ears
        self._pushers = pushers
        self._problems = problems
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All families, as they are now."""
        yield from self._nodes()
        yield from self._wire()
        yield from self._work()

    def _nodes(self) -> Iterator[Metric]:
        members = list(self._daemon.table.members.values())
        now = self._daemon.now()
        states = Counter(member.node.state for member in members)
        yield _gauge("nodes", "Nodes by state", ["state"], [((state,), states[state]) for state in State])
        alive = sum(member.node.liveness is Liveness.ALIVE for member in members)
        yield _gauge("nodes_alive", "Nodes known to run their normal kernel", value=alive)
        unresolved = len(self._daemon.resolver.unresolved)
        yield _gauge("nodes_unresolved", "Nodes with names that do not resolve", value=unresolved)
        busy = [member.node for member in members if member.node.state is not State.QUIET]
        grades = ", ".join(f"{int(grade)} {grade}" for grade in Grade)
        proven = [((node.name, node.state), int(node.best(now))) for node in busy]
        yield _gauge("node_grade", f"Fresh evidence of a busy node: {grades}", ["node", "state"], proven)

    def _wire(self) -> Iterator[Metric]:
        ears = [((str(bound(ear.sock)),), ear) for ear in self._ears]
        received = [(where, ear.received) for where, ear in ears]
        dropped = [(where, ear.dropped) for where, ear in ears]
        filtered = [(where, ear.junk) for where, ear in ears]
        yield _counter("datagrams_received", "Datagrams read", ["listen"], received)
        yield _counter("datagrams_dropped", "Datagrams the kernel had no room for", ["listen"], dropped)
        yield _counter("datagrams_filtered", "Junk the socket's filter refused", ["listen"], filtered)
        table = self._daemon.table
        yield _counter("messages", "Datagrams by what became of them", ["outcome"], _keyed(table.counts))
        yield _counter("extension_flaws", "Extensions that break their layout", ["flaw"], _keyed(table.flaws))
        yield _counter("alarms", "What honest nodes and networks do not do", ["alarm"], _keyed(table.alarms))
        yield _gauge("unknown_senders", "Addresses in the table of strangers", value=len(table.unknown))

    def _work(self) -> Iterator[Metric]:
        daemon = self._daemon
        decisions = [(("yes",), daemon.decisions[True]), (("no",), daemon.decisions[False])]
        yield _counter("decisions", "Answers to the question whether a node is off", ["off"], decisions)
        yield _gauge("waits", "Questions that wait for evidence", value=daemon.waits.open)
        yield _gauge("journal_last_id", "The newest event", value=daemon.journal.last)
        yield _counter("journal_lost", "Events no disk ever took", [], [((), daemon.journal.lost)])
        behind = [((pusher.name,), pusher.behind) for pusher in self._pushers]
        done = [((pusher.name,), pusher.done) for pusher in self._pushers]
        given_up = [((pusher.name,), pusher.given_up) for pusher in self._pushers]
        yield _gauge("push_behind", "Events a webhook or program has not come to yet", ["target"], behind)
        yield _counter("push_done", "Events a webhook or program took", ["target"], done)
        yield _counter("push_given_up", "Events a webhook or program never took", ["target"], given_up)
        yield _gauge("problems", "What /healthz complains about", value=len(self._problems()))
        yield _gauge("uptime_seconds", "Since the start", value=daemon.now() - daemon.started)


Samples = Sequence[tuple[tuple[str, ...], float]]


def _gauge(
    name: str, text: str, labels: Sequence[str] = (), samples: Samples = (), *, value: float | None = None
) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, value=value, labels=None if value is not None else labels)
    for key, sample in samples:
        family.add_metric(key, sample)
    return family


def _counter(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, sample in samples:
        family.add_metric(key, sample)
    return family


def _keyed(counts: Counter[str]) -> Samples:
    return [((key,), value) for key, value in counts.items()]
