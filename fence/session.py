"""Is a signed message new: replay protection without synchronised clocks (docs/fence-protocol.md, section 4).

Sans-IO: ``at`` and ``alive_at`` are seconds of the daemon's monotonic clock, ``wall`` seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

REMEMBERED = 64  # past sessions of a node
DOUBTED = 8  # sessions in doubt


@dataclass(frozen=True, slots=True)
class Fresh:
    """New: evidence of grade ``signed``, of the moment ``sent_at`` by our clock."""

    sent_at: float


@dataclass(frozen=True, slots=True)
class Copy:
    """A beat that was seen already (another address, the network): nothing new, nothing wrong."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Proven to be old. ``alarm`` is the alarm's kind."""

    alarm: str
    reason: str


@dataclass(frozen=True, slots=True)
class Doubted:
    """Perhaps old: no better than a message without a signature."""

    alarm: str
    reason: str


Verdict = Fresh | Copy | Refused | Doubted


@dataclass(slots=True)
class Session:
    """One boot of the node's capture kernel.

    ``lag`` is the smallest difference seen between our clock and SEQUENCE, in seconds; None after our host
    booted, when the clock it was measured with is gone: then it proves nothing more. ``at``: when the last
    message came. ``closed``: the node was alive after that, and the clock is gone: what else comes of it
    cannot be told to be newer.
    """

    id: bytes
    sequence: int  # milliseconds
    at: float
    first_time: int  # milliseconds since 1970 by the node's clock
    lag: float | None
    closed: bool = False

    def judge(self, sequence: int, at: float, alive_at: float | None, window: float) -> Verdict:
        """Whether a further message of it is new."""
        if sequence == self.sequence:
            return Copy()
        if sequence < self.sequence:
            return Refused("backwards", f"{self.sequence - sequence} ms before one that was here already")
        if self.closed:
            return Refused("replay", "of a session from before the node was alive")
        if self.lag is None:
            return Doubted("clock", "of a session from before our host's boot: how old it is cannot be told")
        sent_at = min(at, sequence / 1000 + self.lag)
        if alive_at is not None and sent_at <= alive_at:
            return Refused("replay", f"sent {alive_at - sent_at:.1f} s before the node was known alive")
        if at - sent_at > window:
            return Refused("held-back", f"{at - sent_at:.1f} s later than the others of its session")
        return Fresh(sent_at)

    def goes_on(self, sequence: int, at: float) -> None:
        """A new message came."""
        if self.lag is not None:
            self.lag = min(self.lag, at - sequence / 1000)
        self.sequence, self.at = sequence, at


@dataclass(slots=True)
class Sessions:
    """The sessions of one node: the current one, those it superseded, and those in doubt."""

    current: Session | None = None
    past: list[bytes] = field(default_factory=list)
    doubted: list[Session] = field(default_factory=list)

    def judge(
        self,
        session: bytes,
        sequence: int,
        time: int,
        *,
        at: float,
        wall: float,
        alive_at: float | None,
        window: float,
        max_skew: float,
    ) -> Verdict:
        """Whether a message with a valid signature is new; what is refused leaves no trace here."""
        if session in self.past:
            return Refused("replay", "of a session that another one has superseded")
        known = next((each for each in self._all() if each.id == session), None)
        verdict = known.judge(sequence, at, alive_at, window) if known else Fresh(at)
        if isinstance(verdict, Fresh) and (doubt := self._doubt(session, time, wall, max_skew)):
            verdict = doubt
        if isinstance(verdict, Fresh | Doubted):
            if known:
                known.goes_on(sequence, at)
            else:
                known = Session(session, sequence, at, time, at - sequence / 1000)
            if known is not self.current:
                self._place(known, in_doubt=isinstance(verdict, Doubted))
        return verdict

    def alive(self) -> None:
        """The node is alive: sessions whose times mean nothing to us any more are over."""
        for session in self._all():
            session.closed = session.closed or session.lag is None

    def clock_gone(self, alive_at: float | None) -> None:
        """Our host has booted: times of our clock mean nothing any more."""
        for session in self._all():
            session.closed = session.closed or (alive_at is not None and alive_at >= session.at)
            session.lag = None

    def _all(self) -> Iterator[Session]:
        if self.current:
            yield self.current
        yield from self.doubted

    def _doubt(self, session: bytes, time: int, wall: float, max_skew: float) -> Doubted | None:
        """Why a session that is not the current one must not become it."""
        current = self.current
        if current and current.id == session:
            return None
        if current and time <= current.first_time:
            late = (current.first_time - time) / 1000
            return Doubted(
                "clock", f"a session that begins {late:.1f} s before the last one by the node's clock"
            )
        skew = abs(time / 1000 - wall)
        return Doubted("clock", f"the node's clock is {skew / 3600:.1f} h off") if skew > max_skew else None

    def _place(self, session: Session, *, in_doubt: bool) -> None:
        others = [each for each in self.doubted if each is not session]
        if in_doubt:
            self.doubted = [*others, session][-DOUBTED:]
        else:
            self.doubted = others
            if self.current:
                self.past = [*self.past, self.current.id][-REMEMBERED:]
            self.current = session
