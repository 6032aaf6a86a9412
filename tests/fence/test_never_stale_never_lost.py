"""The promise of the daemon, in any order of messages, silences, restarts, reboots and clock steps.

Never a stale yes: "off" is answered only where evidence of the asked grade was really sent within the
window, and after the node was last known alive. Never a lost one: where there is such evidence, the answer
is yes.

The model knows the truth (when each datagram was made and delivered); the core only sees datagrams and its
own clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fence import standing
from fence.events import Grade
from fence.listed import Listed
from fence.message import LITTLE, Message, encode
from fence.node import Node, Rules, Upload, UploadPhase
from fence.table import Datagram, Table

WINDOW = 25.0
KEY = b"k" * 32
ADDRESS = "192.0.2.10"
DELAY = 0.5  # seconds, the most an honest network takes

SECONDS = st.sampled_from((0.25, 1.0, 9.75, 10.0, 24.5, 25.25, 31.0, 3700.0))


@dataclass(frozen=True)
class Evidence:
    """Something that was really so: of this grade, at this moment of true time."""

    grade: Grade
    true: float


@dataclass
class Recorded:
    """A signed datagram of the node, as somebody on the path has it."""

    data: bytes
    true: float  # when it was made
    delivered: bool


class World(RuleBasedStateMachine):
    """One node with a key, its crashes, its cluster, and the daemon."""

    @initialize(boot=st.sampled_from((5.0, 100_000.0)), wall=st.sampled_from((0.0, 1.7e9)))
    def start(self, boot: float, wall: float) -> None:
        self.true = 0.0
        self.booted = -boot  # true time of the daemon's host's boot
        self.wall_offset = wall
        self.clock = 1
        self.sessions = 0
        self.session_began: float | None = None
        self.session_clock = 0
        self.last_sequence = -1
        self.evidence: list[Evidence] = []  # heard, in the daemon's memory, and not ended by a life
        self.written: list[Evidence] = []  # of these, what a kill does not lose
        self.perhaps: list[Evidence] = []  # somebody's replays: true when made, but nobody relies on them
        self.recorded: list[Recorded] = []
        self.alive_true = float("-inf")
        self.line: tuple[int, str] | None = None
        self.written_at = 0.0
        self.make_daemon()

    # The daemon, and its clocks

    def now(self) -> float:
        return self.true - self.booted

    def wall(self) -> float:
        return self.true + self.wall_offset

    def make_daemon(self) -> None:
        self.table = Table(self.recall)
        listed = Listed(name="n1", addresses=(ADDRESS,), keys=(KEY,), rules=Rules(window=WINDOW))
        self.table.configure([listed], self.now())
        self.node = self.table.members["n1"].node

    def recall(self, node: Node, now: float) -> None:
        if self.line is not None:
            clock, text = self.line
            standing.recall(node, text, now, self.wall(), same_clock=clock == self.clock)

    def write(self) -> None:
        self.node.urgent = False
        self.line = (self.clock, standing.written(self.node, self.now(), self.wall()))
        self.written = list(self.evidence)

    def hear(self, data: bytes, age: float = 0.0) -> None:
        self.table.heard(Datagram(data, ADDRESS, age=age), self.now(), self.wall())

    def proven(self, grade: Grade) -> None:
        self.evidence.append(Evidence(grade, self.true))

    # What happens

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.true += seconds
        self.table.tick(self.now())

    @rule(step=st.sampled_from((-1e9, -86_400.0, -3600.0, 3600.0, 86_400.0)))
    def the_wall_clock_is_set(self, step: float) -> None:
        """NTP, DST, an operator: nothing may rest on it but the doubt in new sessions."""
        self.wall_offset += step

    @rule()
    def a_plain_beat(self) -> None:
        """The C sender in the capture kernel."""
        self.hear(LITTLE)
        self.proven(Grade.UDP)

    @rule(delay=st.sampled_from((0.0, 0.25, DELAY)), delivered=st.booleans())
    def a_signed_beat(self, delay: float, delivered: bool) -> None:
        """Our sender; the first beat of a session always arrives, others may be swallowed by the path."""
        first = self.session_began is None
        if self.session_began is None:
            self.session_began = self.true - 7
            self.session_clock = self.clock
            self.sessions += 1
            self.last_sequence = -1
        sequence = int((self.true - self.session_began) * 1000)
        if sequence <= self.last_sequence:
            return
        self.last_sequence = sequence
        message = Message(
            node="n1",
            session=self.sessions.to_bytes(16, "big"),
            sequence=sequence,
            time=int((1.7e9 + self.true) * 1000),  # the node's own clock, right
        )
        data = encode(message, KEY)
        made = self.true
        self.recorded.append(Recorded(data, made, first or delivered))
        if first or delivered:
            self.true += 0.0 if first else delay
            clocks_agree = abs(1.7e9 + made - self.wall()) <= 26 * 3600
            self.hear(data)
            # A session that began while our wall clock was wrong is no better than unsigned, and only then.
            current = self.node.sessions.current
            accepted = current is not None and current.id == message.session
            # After our host's boot nobody can tell how old a beat of that session is: unsigned, no more.
            signed = accepted and self.session_clock == self.clock
            self.evidence.append(Evidence(Grade.SIGNED, made) if signed else Evidence(Grade.UDP, self.true))
            assert accepted or not clocks_agree
            if self.node.urgent:
                self.write()

    @precondition(lambda self: self.recorded)
    @rule(data=st.data())
    def somebody_replays(self, data: st.DataObject) -> None:
        """Anything recorded, delivered before or held back, at any later time, from a forged address."""
        recorded = data.draw(st.sampled_from(self.recorded))
        self.table.heard(Datagram(recorded.data, "203.0.113.66"), self.now(), self.wall())
        self.perhaps.append(Evidence(Grade.SIGNED, recorded.true))
        recorded.delivered = True

    @rule(phase=st.sampled_from(UploadPhase), age=st.sampled_from((0.0, 1.0, 20.0, 600.0)))
    def the_receiver_tells(self, phase: UploadPhase, age: float) -> None:
        """Sometimes late, but it says so."""
        self.node.uploading(Upload(phase=phase, upload="u"), self.now(), self.now() - age)
        if phase is not UploadPhase.FAILED and self.true - age > self.alive_true:
            grade = Grade.SAVED if phase is UploadPhase.FINISHED else Grade.SSH
            told = Evidence(grade, self.true - age)
            # From before our host's boot: whether the node lived since, the daemon cannot know.
            (self.evidence if told.true >= self.booted else self.perhaps).append(told)

    @rule()
    def the_node_is_alive(self) -> None:
        """It boots and joins; a crash is over. Written down before it is acknowledged."""
        self.true += DELAY  # whatever was under way has arrived
        self.node.alive("pacemaker", self.now(), self.now())
        self.alive_true = self.true
        self.evidence, self.perhaps = [], []
        self.session_began = None
        self.write()
        self.true += DELAY

    @rule()
    def the_cluster_loses_it(self) -> None:
        self.node.lost("pacemaker", self.now(), self.now())

    @rule()
    def it_is_written_down(self) -> None:
        """Once a second, and with each change."""
        self.write()

    @rule(seconds=SECONDS)
    def the_daemon_restarts(self, seconds: float) -> None:
        """SIGTERM: it writes, is away for a while, and knows everything."""
        self.write()
        self.true += seconds
        self.make_daemon()

    @rule(seconds=SECONDS)
    def the_daemon_is_killed(self, seconds: float) -> None:
        """SIGKILL: what was not written is lost, nothing gets younger."""
        self.true += seconds
        self.evidence = list(self.written)
        self.make_daemon()

    @rule(seconds=SECONDS)
    def our_host_reboots(self, seconds: float) -> None:
        """Its monotonic clock begins anew; nothing from before may count."""
        self.true += seconds
        self.booted, self.clock = self.true, self.clock + 1  # after all that the boot before it heard
        self.true += 3  # until the daemon runs
        self.evidence, self.perhaps, self.written = [], [], []
        self.make_daemon()

    @rule(age=st.sampled_from((1.0, 30.0, 300.0)))
    def the_daemon_was_stopped(self, age: float) -> None:
        """A datagram lay in the socket while the process was frozen."""
        if self.true - age > self.alive_true:
            self.hear(LITTLE, age)
            self.evidence.append(Evidence(Grade.UDP, self.true - age))
        else:
            self.hear(LITTLE, age)

    # The promise

    @invariant()
    def never_a_stale_yes(self) -> None:
        if not hasattr(self, "table"):
            return
        best = self.node.best(self.now())
        # Whether a plain beat is `udp` or `udp-checked` is not a matter of time.
        needed = Grade.UDP if best is Grade.UDP_CHECKED else best
        proofs = [
            each
            for each in (*self.evidence, *self.perhaps)
            if each.grade >= needed
            and self.true - each.true <= WINDOW + DELAY
            and each.true > self.alive_true
        ]
        assert not best or proofs, f"{best} at {self.true}"

    @invariant()
    def never_a_lost_one(self) -> None:
        if not hasattr(self, "table"):
            return
        best = self.node.best(self.now())
        for each in self.evidence:
            if self.true - each.true <= WINDOW - DELAY:
                assert best >= each.grade, f"{each} at {self.true}"


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
