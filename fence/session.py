"""Is a signed message new: replay protection without synchronised clocks (docs/fence-protocol.md, section 4).

Sans-IO: ``at`` and ``alive_at`` are seconds of the daemon's monotonic clock, ``wall`` seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field

REMEMBERED = 64  # past sessions of a node


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
class Sessions:
    """What was accepted from one node.

    ``lag`` is the smallest difference seen between the daemon's clock and SEQUENCE, in seconds; None
    right after the daemon's host booted, when the clock it was measured with is gone. ``closed``: the
    node was alive after the last message and that clock is gone too, so nothing of the session can be
    told to be newer.
    """

    current: bytes | None = None
    sequence: int = 0  # milliseconds
    lag: float | None = None
    first_time: int = 0  # milliseconds since 1970 by the node's clock, of the first message of ``current``
    closed: bool = False
    past: list[bytes] = field(default_factory=list)

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
        """Whether a message with a valid signature is new; only ``Fresh`` leaves a trace here."""
        if session == self.current:
            verdict = self._continued(sequence, at, alive_at, window)
        elif session in self.past:
            verdict = Refused("replay", "of a session that another one has superseded")
        else:
            verdict = self._begun(time, at, wall, max_skew)
        if isinstance(verdict, Fresh):
            self._accept(session, sequence, time, at)
        return verdict

    def _continued(self, sequence: int, at: float, alive_at: float | None, window: float) -> Verdict:
        if sequence == self.sequence:
            return Copy()
        if sequence < self.sequence:
            return Refused("backwards", f"{self.sequence - sequence} ms before one that was here already")
        if self.closed:
            return Refused("replay", "of a session from before the node was alive")
        if self.lag is None:
            return Fresh(at)
        sent_at = min(at, sequence / 1000 + self.lag)
        if alive_at is not None and sent_at <= alive_at:
            return Refused("replay", f"sent {alive_at - sent_at:.1f} s before the node was known alive")
        if at - sent_at > window:
            return Refused("held-back", f"{at - sent_at:.1f} s later than the others of its session")
        return Fresh(sent_at)

    def _begun(self, time: int, at: float, wall: float, max_skew: float) -> Verdict:
        if self.current is not None and time <= self.first_time:
            late = (self.first_time - time) / 1000
            return Doubted(
                "clock", f"a session that begins {late:.1f} s before the last one by the node's clock"
            )
        skew = abs(time / 1000 - wall)
        if skew > max_skew:
            return Doubted("clock", f"the node's clock is {skew / 3600:.1f} h off")
        return Fresh(at)

    def _accept(self, session: bytes, sequence: int, time: int, at: float) -> None:
        lag = at - sequence / 1000
        if session == self.current:
            self.lag = lag if self.lag is None else min(self.lag, lag)
        else:
            if self.current is not None:
                self.past = [*self.past, self.current][-REMEMBERED:]
            self.current, self.first_time, self.closed, self.lag = session, time, False, lag
        self.sequence = sequence
