"""One node: what was heard of it, what that proves, and for how long.

    quiet → dumping → saved | failed | silent

Sans-IO. Every time is in seconds of one monotonic clock of the daemon: ``now`` is the moment of the
call, ``at`` the moment something was seen on the wire. Neither "the first beat is the start" nor
"silence is the end" is assumed: SUSE sends only after the dump, RHEL from its beginning until the reboot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from fence.events import Alarm, Alive, Decision, Drill, Grade, GradeRose, Lost, NodeEvent, State, StateChanged
from fence.message import Message, Phase, Progress
from fence.session import Sessions, Verdict


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts for a node. ``off_grade``: the evidence that may answer "off"; the rest in seconds."""

    off_grade: Grade = Grade.UDP
    window: float = 25.0  # two beats of RHEL's 10 s, and some
    silent_after: float = 30.0
    forget_after: float = 3600.0
    max_skew: float = 26 * 3600.0


class Liveness(Enum):
    """What others know of the node's normal kernel."""

    UNKNOWN = "unknown"
    ALIVE = "alive"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A message of this node. ``hints``: whether TTL and interface fit, None where none are configured."""

    heard_from: str
    signed_with: str | None = None  # the key id, where the signature is valid and new
    hints: bool | None = None
    phase: Phase | None = None
    session: bytes | None = None
    progress: Progress | None = None
    count: int = 1


class UploadPhase(Enum):
    """What a receiver says of the node's upload."""

    STARTED = "started"
    PROGRESS = "progress"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What the receiver sees of an authenticated host."""

    phase: UploadPhase
    upload: str | None = None
    progress: Progress | None = None
    by: str = "receiver"


@dataclass(slots=True)
class Crash:
    """One crash of the node as far as it can be told from the next; emptied, not kept."""

    beats: int = 0
    since: float | None = None
    session: bytes | None = None
    session_grade: Grade = Grade.NONE  # of the message that named the session
    best: Grade = Grade.NONE
    phase: Phase | None = None
    phase_grade: Grade = Grade.NONE  # of who said so: only as good a word overrules it
    progress: Progress | None = None
    upload: str | None = None


PHASE_STATES = {
    Phase.STARTED: State.DUMPING,
    Phase.DUMPING: State.DUMPING,
    Phase.SAVED: State.SAVED,
    Phase.FAILED: State.FAILED,
}
UPLOAD_PHASES = {
    UploadPhase.STARTED: Phase.DUMPING,
    UploadPhase.PROGRESS: Phase.DUMPING,
    UploadPhase.FINISHED: Phase.SAVED,
    UploadPhase.FAILED: Phase.FAILED,
}
ENDED = (State.SAVED, State.FAILED)


@dataclass(slots=True, eq=False)
class Node:
    """The state of one node; every method that changes it returns what happened."""

    name: str
    rules: Rules
    state: State = State.QUIET
    since: float = 0.0
    seen: dict[Grade, float] = field(default_factory=dict)  # when evidence of that grade last came
    heard_from: str | None = None
    signed_with: str | None = None
    crash: Crash = field(default_factory=Crash)
    liveness: Liveness = Liveness.UNKNOWN
    alive_at: float | None = None
    alive_by: str | None = None
    sessions: Sessions = field(default_factory=Sessions)
    drill_at: float | None = None
    drill_grade: Grade = Grade.NONE
    changed: bool = True  # since it was last written down
    urgent: bool = False  # and must be before long: a session forgotten could be replayed

    def judge(self, message: Message, at: float, wall: float) -> Verdict:
        """Whether a message with a valid signature of this node (so with all its fields) is new."""
        before = (self.sessions.current, self.sessions.doubted)
        verdict = self.sessions.judge(
            message.session or b"",
            message.sequence or 0,
            message.time or 0,
            at=at,
            wall=wall,
            alive_at=self.alive_at,
            window=self.rules.window,
            max_skew=self.rules.max_skew,
        )
        after = (self.sessions.current, self.sessions.doubted)
        moved = any(one is not other for one, other in zip(before, after, strict=True))
        self.changed, self.urgent = True, self.urgent or moved
        return verdict

    def heard(self, beat: Beat, now: float, at: float) -> list[NodeEvent]:
        """A message of the node that was on the wire at ``at``."""
        if self.alive_at is not None and at <= self.alive_at:
            return []
        events = self.tick(now)
        grade = self._grade(beat)
        if self.liveness is Liveness.ALIVE:
            reason = f"a {grade} message while the node is known alive, says {self.alive_by}"
            events.append(Alarm(node=self.name, alarm="alive", reason=reason, heard_from=beat.heard_from))
        events += self._proven(grade, at, beat.session, beat.heard_from)
        self.heard_from = beat.heard_from
        self.signed_with = beat.signed_with or self.signed_with
        self.crash.beats += beat.count
        if beat.progress and grade >= self.crash.phase_grade:
            self.crash.progress = beat.progress
        return events + self._phase(beat.phase, grade, now, f"{grade} message from {beat.heard_from}")

    def uploading(self, upload: Upload, now: float, at: float) -> list[NodeEvent]:
        """A receiver saw bytes (or their end) of the node at ``at``.

        What lies before our clock's beginning (our host booted since) proves nothing: whether the node
        lived after it, nobody here remembers.
        """
        if self.alive_at is not None and at <= self.alive_at:
            return []
        events = self.tick(now)
        grade = Grade.SAVED if upload.phase is UploadPhase.FINISHED else Grade.SSH
        if upload.phase is not UploadPhase.FAILED and at >= 0:
            # A connection may well break because the node came back: no proof that it is off.
            events += self._proven(grade, at, None, None)
        phase = UPLOAD_PHASES[upload.phase]
        another = upload.upload != self.crash.upload
        if another and self.crash.phase_grade >= Grade.SSH:
            self.crash.phase_grade = Grade.SSH  # the next file of the same host: it may be dumping again
        elif self.state is State.SAVED and phase is not Phase.SAVED:
            phase = Phase.SAVED  # a late word on the upload that is whole
        self.crash.upload = upload.upload
        self.crash.progress = upload.progress or self.crash.progress
        return events + self._phase(phase, grade, now, f"upload {upload.phase.value}, says {upload.by}")

    def drilled(self, beat: Beat, at: float) -> list[NodeEvent]:
        """A drill of the node: noted, never evidence."""
        self.drill_at, self.drill_grade, self.changed = at, self._grade(beat), True
        return [Drill(node=self.name, grade=self.drill_grade, heard_from=beat.heard_from)]

    def alive(self, by: str, now: float, at: float) -> list[NodeEvent]:
        """Somebody saw the normal kernel at ``at``: nothing from before it counts any more."""
        if self.alive_at is not None and at <= self.alive_at:
            return []
        news = self.liveness is not Liveness.ALIVE or bool(self.seen)
        self.liveness, self.alive_at, self.alive_by, self.changed = Liveness.ALIVE, at, by, True
        self.sessions.alive()
        self.seen = {grade: time for grade, time in self.seen.items() if time > at}
        events: list[NodeEvent] = []
        if news:
            events.append(Alive(node=self.name, by=by, age_seconds=now - at))
        if not self.seen and self.state is not State.QUIET:
            events += self._quiet(now, f"alive again, says {by}")
        return events

    def lost(self, by: str, now: float, at: float) -> list[NodeEvent]:
        """Somebody does not see the normal kernel any more. Clears nothing."""
        if self.liveness is Liveness.LOST or (self.alive_at is not None and at < self.alive_at):
            return []
        self.liveness, self.changed = Liveness.LOST, True
        return [Lost(node=self.name, by=by, age_seconds=now - at)]

    def tick(self, now: float) -> list[NodeEvent]:
        """What the mere passing of time makes of the state."""
        events: list[NodeEvent] = []
        last = self._last()
        if self.state is State.DUMPING and now - last >= self.rules.silent_after:
            events.append(self._to(State.SILENT, now, f"nothing for {now - last:.0f} s"))
        if self.state not in (State.QUIET, State.DUMPING) and now - last >= self.rules.forget_after:
            events += self._quiet(now, f"nothing for {now - last:.0f} s")
        return events

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None where time changes nothing."""
        match self.state:
            case State.QUIET:
                return None
            case State.DUMPING:
                return self._last() + self.rules.silent_after
            case _:
                return self._last() + self.rules.forget_after

    def best(self, now: float) -> Grade:
        """The best evidence that is fresh: of the last window, and from after the node was last alive."""
        return max(
            (grade for grade, at in self.seen.items() if now - at <= self.rules.window), default=Grade.NONE
        )

    def decide(self, now: float, *, asked: Grade, asked_by: str, began: float) -> Decision:
        """The answer to "is it off?" at this moment; ``began``: when the question came."""
        grade = self.best(now)
        policy = max(self.rules.off_grade, asked)
        at = self.seen[grade] if grade else max(self.seen.values(), default=None)
        return Decision(
            node=self.name,
            off=grade >= policy,
            grade=grade,
            policy=policy,
            reason=self._reason(grade, policy, now),
            state=self.state,
            beats=self.crash.beats,
            age_seconds=None if at is None else now - at,
            waited_seconds=now - began,
            asked_by=asked_by,
        )

    def session_text(self) -> str | None:
        """The crash's session as /proc/sys/kernel/random/boot_id writes it."""
        return str(UUID(bytes=self.crash.session)) if self.crash.session else None

    def _grade(self, beat: Beat) -> Grade:
        if beat.signed_with:
            return Grade.SIGNED
        if beat.hints is False or self.liveness is Liveness.ALIVE:
            return Grade.UDP
        if beat.hints or self.liveness is Liveness.LOST:
            return Grade.UDP_CHECKED
        return Grade.UDP

    def _proven(
        self, grade: Grade, at: float, session: bytes | None, heard_from: str | None
    ) -> list[NodeEvent]:
        crash = self.crash
        named = session is not None and grade >= crash.session_grade
        if self._another(named and crash.session not in (None, session), at):
            crash = self.crash = Crash()
        if crash.since is None:
            crash.since = at
        if named:
            crash.session, crash.session_grade = session, grade
        self.seen[grade] = max(at, self.seen.get(grade, at))
        self.changed = True
        if grade <= crash.best:
            return []
        rose = crash.best is not Grade.NONE
        crash.best = grade
        if not rose:
            return []
        text = self.session_text()
        return [GradeRose(node=self.name, state=self.state, grade=grade, heard_from=heard_from, session=text)]

    def _another(self, other_session: bool, at: float) -> bool:
        """Whether this is another crash than the last; one that is over ends by a pause, too."""
        return other_session or (self.state in ENDED and at - self._last() > self.rules.silent_after)

    def _phase(self, phase: Phase | None, grade: Grade, now: float, reason: str) -> list[NodeEvent]:
        crash = self.crash
        if phase is None or grade < crash.phase_grade:
            state = PHASE_STATES[crash.phase] if crash.phase else State.DUMPING
        elif crash.phase is Phase.SAVED and PHASE_STATES[phase] is State.DUMPING and grade < Grade.SSH:
            state = State.SAVED  # the sender's beats go on until the reboot
        else:
            crash.phase, crash.phase_grade = phase, grade
            state = PHASE_STATES[phase]
        self.changed = True
        return [] if state is self.state else [self._to(state, now, reason)]

    def _to(self, state: State, now: float, reason: str) -> StateChanged:
        was, self.state, self.since, self.changed = self.state, state, now, True
        progress = self.crash.progress
        return StateChanged(
            node=self.name,
            state=state,
            was=was,
            grade=self.crash.best,
            reason=reason,
            heard_from=self.heard_from,
            session=self.session_text(),
            beats=self.crash.beats,
            done_bytes=progress.done_bytes if progress else None,
            total_bytes=progress.total_bytes if progress else None,
        )

    def _quiet(self, now: float, reason: str) -> list[NodeEvent]:
        event = self._to(State.QUIET, now, reason)
        self.crash, self.seen = Crash(), {}
        return [event]

    def _last(self) -> float:
        """When the crash last showed: by evidence, or by a failed upload, which is none."""
        return max(self.seen.values(), default=self.since)

    def _reason(self, grade: Grade, policy: Grade, now: float) -> str:
        beats = f"{self.crash.beats} beat{'s' if self.crash.beats != 1 else ''}"
        if grade >= policy:
            return f"{_evidence(grade)} {now - self.seen[grade]:.1f} s ago, {beats}"
        if grade:
            age = now - self.seen[grade]
            return f"the best evidence is {grade} ({age:.1f} s ago), the policy asks for {policy}"
        if self.seen:
            age = now - max(self.seen.values())
            return f"the last evidence is {age:.1f} s old, older than the window of {self.rules.window:g} s"
        if self.alive_at is not None:
            return f"nothing since it was alive {now - self.alive_at:.1f} s ago, says {self.alive_by}"
        return f"nothing heard from {self.name}"


def _evidence(grade: Grade) -> str:
    match grade:
        case Grade.SSH:
            return "authenticated upload, bytes"
        case Grade.SAVED:
            return "whole dump received"
        case _:
            return f"{grade} message"
