"""All nodes, and whose message a datagram is.

Sans-IO: ``now`` and ``at`` as in node.py, ``wall`` is Unix time.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from fence.addresses import Addresses, canonical
from fence.calm import Calm
from fence.events import Alarm, Event, NodeEvent
from fence.listed import ASKED, Listed
from fence.message import Junk, Message, decode_untrusted, key_id
from fence.node import Beat, Node
from fence.session import Copy, Fresh, Refused

ADOPTED_MAX = 1000  # nodes that are not configured, only asked for


@dataclass(frozen=True, slots=True)
class Datagram:
    """What the socket gave.

    ``age``: seconds that it lay in the socket. ``count``: how many there were of the same at once.
    """

    data: bytes
    address: str
    interface: str | None = None
    ttl: int | None = None
    age: float = 0.0
    count: int = 1


@dataclass(slots=True)
class Sender:
    """Somebody we do not know: never believed, but seen."""

    address: str
    messages: int
    at: float
    claims: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a datagram did: the node it is evidence of, if any, and what to tell."""

    node: Node | None
    events: list[Event]


NOTHING = Heard(None, [])


@dataclass(slots=True)
class Member:
    """A node in the table."""

    listed: Listed
    node: Node
    keys: dict[bytes, bytes] = field(repr=False)  # by key id
    alarms: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """Whose a message is; ``over``: nobody's, and there is no need to look further."""

    member: Member | None = None
    signed_with: str | None = None
    at: float | None = None  # when it was sent, where its signature tells
    hints: bool | None = None
    alarms: tuple[Alarm, ...] = ()
    over: bool = False
    counted: str = "refused"


@dataclass(frozen=True, slots=True)
class Changes:
    """What `configure` changed, as names."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    events: list[Event]


class Table:
    """Every node we know, by name, id, address and key."""

    def __init__(self, recall: Callable[[Node, float], None], unknown_max: int = 1024) -> None:
        """``recall(node, now)`` puts back into a new node what is remembered of it."""
        self._recall = recall
        self.members: dict[str, Member] = {}
        self.unknown: OrderedDict[str, Sender] = OrderedDict()
        self.forgotten = 0
        self.counts: Counter[str] = Counter()  # datagrams, by what became of them
        self.flaws: Counter[str] = Counter()
        self.alarms: Counter[str] = Counter()
        self._unknown_max = unknown_max
        self._called: dict[str, str] = {}  # name or id, in lower case ▸ name
        self._addresses = Addresses()
        self._asked = Addresses()  # of nodes only asked for: they never take one from a configured node
        self._calm = Calm()
        self._timers: list[tuple[float, str]] = []
        self._timed: set[str] = set()

    # Who there is

    def configure(self, listed: Iterable[Listed], now: float) -> Changes:
        """These are the nodes, beside those only asked for. One that stays keeps its state."""
        wanted = {entry.name: entry for entry in listed}
        listed_before = {name for name, member in self.members.items() if member.listed.source != ASKED}
        removed = sorted(listed_before - wanted.keys())
        for name in removed:
            self._remove(name)
        added, changed = [], []
        events: list[NodeEvent] = []
        for name, entry in wanted.items():
            member = self.members.get(name)
            if member is None:
                added.append(name)
                events += self._add(entry, now)
            elif member.listed != entry:
                changed.append(name)
                events += self._relist(member, entry, now)
        told = self._tell(events, now)
        return Changes(tuple(sorted(added)), tuple(removed), tuple(sorted(changed)), told)

    def adopt(self, listed: Listed, addresses: Iterable[str], now: float) -> Heard:
        """Watch a node that was asked for. Nothing comes of it where there is no room."""
        if sum(member.listed.source == ASKED for member in self.members.values()) >= ADOPTED_MAX:
            return NOTHING
        events = self._add(listed, now)
        events += self._place(self.members[listed.name], addresses, now)
        return Heard(self.members[listed.name].node, self._tell(events, now))

    def resolved(self, name: str, addresses: Iterable[str], now: float) -> Heard:
        """What the node's names resolve to by now; its literal addresses stay."""
        member = self.members[name]
        return Heard(member.node, self._tell(self._place(member, addresses, now), now))

    def find(self, called: str) -> Node | None:
        """The node of this name, id or address."""
        name = self._called.get(called.lower())
        if name is None:
            address = canonical(called)
            name = self.owner(address) if address else None
        return self.members[name].node if name is not None else None

    def now(self, node: Node) -> Node:
        """The node as it is listed now: a reload may have taken it out and put it in again."""
        member = self.members.get(node.name)
        return member.node if member else node

    def owner(self, address: str) -> str | None:
        """The node that sends from a canonical address; None where there is none, or more than one."""
        owners = self._addresses.owners(address) or self._asked.owners(address)
        return next(iter(owners)) if len(owners) == 1 else None

    def addresses(self, name: str) -> tuple[str, ...]:
        """Where the node may send from."""
        return self._addresses.of(name) or self._asked.of(name)

    # What arrives

    def heard(self, datagram: Datagram, now: float, wall: float) -> Heard:
        """One datagram from the network."""
        try:
            message = decode_untrusted(datagram.data)
        except Junk:
            self.counts["junk"] += datagram.count
            return NOTHING
        if message.flaw:
            self.flaws[message.flaw] += datagram.count
        at = now - datagram.age
        found = self._signer(message, datagram, at, wall) if message.signature else _Found()
        if found.member is None and not found.over:
            found = self._sender(message, datagram, at, found.alarms)
        member = found.member
        events: list[NodeEvent] = list(found.alarms)
        if member is None or found.over:
            self.counts[found.counted] += datagram.count
            return Heard(None, self._tell(events, now))
        beat = Beat(
            heard_from=datagram.address,
            signed_with=found.signed_with,
            hints=found.hints,
            phase=message.phase,
            session=message.session,
            progress=message.progress,
            count=datagram.count,
        )
        self.counts["drill" if message.drill else "signed" if beat.signed_with else "unsigned"] += beat.count
        at = at if found.at is None else found.at
        events += member.node.drilled(beat, at) if message.drill else member.node.heard(beat, now, at)
        self._time(member.node)
        return Heard(None if message.drill else member.node, self._tell(events, now))

    def tick(self, now: float) -> list[Event]:
        """What time alone changes; call it at `deadline`, or every second."""
        events: list[NodeEvent] = []
        while self._timers and self._timers[0][0] <= now:
            _, name = heapq.heappop(self._timers)
            self._timed.discard(name)
            member = self.members.get(name)
            if member is not None:
                events += member.node.tick(now)
                self._time(member.node)
        return self._tell(events, now) + self._calm.due(now)

    def touched(self, node: Node, events: list[NodeEvent], now: float) -> list[Event]:
        """Pass on what a call of the node's own methods (alive, lost, uploading) gave."""
        self._time(node)
        return self._tell(events, now)

    # How it is found

    def _signer(self, message: Message, datagram: Datagram, at: float, wall: float) -> _Found:
        """By its signature. Unless that is right and new, the message is as good as unsigned, or refused."""
        signature = message.signature
        member = self.members.get(self._called.get((message.node or "").lower(), ""))
        if signature is None or member is None or not member.keys:
            return _Found()
        name = member.node.name
        key = member.keys.get(signature.key_id)
        if key is None:
            reason = f"signed with a key we do not have: {signature.key_id.hex()}"
            return _Found(alarms=(_alarm(name, "key", reason, datagram),))
        if not signature.made_with(key):
            reason = f"the signature by {signature.key_id.hex()} is wrong"
            return _Found(alarms=(_alarm(name, "signature", reason, datagram),))
        good = _Found(member, signature.key_id.hex())
        if message.drill:
            return good
        verdict = member.node.judge(message, at, wall)
        match verdict:
            case Fresh(sent_at=sent_at):
                return replace(good, at=sent_at)
            case Copy():
                return replace(good, over=True, counted="copy")
            case Refused(alarm=kind, reason=reason):
                return replace(good, over=True, alarms=(_alarm(name, kind, reason, datagram),))
        return _Found(alarms=(_alarm(name, verdict.alarm, verdict.reason, datagram),))

    def _sender(self, message: Message, datagram: Datagram, at: float, alarms: tuple[Alarm, ...]) -> _Found:
        """By its source address; an unsigned claim to be another node we know is a contradiction."""
        owner = self.owner(datagram.address)
        if owner is None:
            self._stranger(message, datagram, at)
            return _Found(alarms=alarms, over=True, counted="unknown")
        member = self.members[owner]
        claimed = self._called.get(message.node.lower()) if message.node else None
        if claimed not in (None, owner):
            reason = f"claims to be {claimed}, without a signature"
            return _Found(alarms=(*alarms, _alarm(owner, "claim", reason, datagram)), over=True)
        failed = member.listed.misfits(datagram.interface, datagram.ttl)
        hints = not failed if member.listed.hinted() else None
        told = tuple(_alarm(owner, kind, reason, datagram) for kind, reason in failed)
        return _Found(member, hints=hints, alarms=alarms + told)

    def _stranger(self, message: Message, datagram: Datagram, at: float) -> None:
        """Count somebody we do not know, in a table that does not grow."""
        if message.drill:
            return
        address = datagram.address
        sender = self.unknown.pop(address, None) or Sender(address, 0, at)
        sender.messages += datagram.count
        sender.at = at
        sender.claims = message.node or sender.claims
        self.unknown[address] = sender
        if len(self.unknown) > self._unknown_max:
            self.unknown.popitem(last=False)
            self.forgotten += 1

    # How it is kept

    def _add(self, listed: Listed, now: float) -> list[NodeEvent]:
        node = Node(listed.name, listed.rules, since=now)
        self._recall(node, now)
        member = self.members[listed.name] = Member(listed, node, {})
        events = self._relist(member, listed, now)
        self._time(node)
        return events

    def _relist(self, member: Member, listed: Listed, now: float) -> list[NodeEvent]:
        self._uncall(member.listed)
        kept = self.addresses(listed.name) if listed.names else ()
        if listed.source != ASKED:
            self._asked.drop(listed.name)
        member.listed, member.node.rules = listed, listed.rules
        member.keys = {key_id(key): key for key in listed.keys}
        for called in (listed.name, listed.id):
            if called:
                self._called[called.lower()] = listed.name
        return self._place(member, kept, now)

    def _place(self, member: Member, addresses: Iterable[str], now: float) -> list[NodeEvent]:
        """The node has these addresses. What a stranger sent from one of them was the node's."""
        listed, node = member.listed, member.node
        every = tuple(dict.fromkeys((*listed.addresses, *addresses)))
        if listed.source == ASKED:
            self._asked.put(node.name, every)
        else:
            self._addresses.put(node.name, every, listed.networks)
        events: list[NodeEvent] = []
        for address in every:
            if address in self.unknown and self.owner(address) == node.name:
                sender = self.unknown.pop(address)
                events += node.heard(Beat(heard_from=address, hints=False), now, sender.at)
        self._time(node)
        return events

    def _remove(self, name: str) -> None:
        self._uncall(self.members.pop(name).listed)
        self._addresses.drop(name)
        self._asked.drop(name)
        self._calm.forget(name)

    def _uncall(self, listed: Listed) -> None:
        for called in (listed.name, listed.id):
            if called and self._called.get(called.lower()) == listed.name:
                del self._called[called.lower()]

    def _time(self, node: Node) -> None:
        deadline = node.deadline()
        if deadline is not None and node.name not in self._timed:
            self._timed.add(node.name)
            heapq.heappush(self._timers, (deadline, node.name))

    def _tell(self, events: list[NodeEvent], now: float) -> list[Event]:
        if not events:
            return []
        for event in events:
            if isinstance(event, Alarm):
                self.members[event.node].alarms += 1
                self.alarms[event.alarm] += 1
        return self._calm.pass_on(events, now)


def _alarm(node: str, kind: str, reason: str, datagram: Datagram) -> Alarm:
    return Alarm(node=node, alarm=kind, reason=reason, heard_from=datagram.address)
