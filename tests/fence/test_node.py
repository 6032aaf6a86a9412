"""fence.node: the states of one node, what is fresh, and what may answer "off"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from fence.events import Alarm, Alive, Drill, Grade, GradeRose, Lost, NodeEvent, State, StateChanged
from fence.message import Message, Phase, Progress
from fence.node import Beat, Liveness, Node, Rules, Upload, UploadPhase
from fence.session import Copy, Fresh

A, B = b"A" * 16, b"B" * 16
Step = Callable[[Node, float], list[NodeEvent]]


def plain(node: Node, now: float) -> list[NodeEvent]:
    """A beat of the C sender."""
    return node.heard(Beat(heard_from="192.0.2.10"), now, now)


def signed(phase: Phase | None = None, session: bytes = A) -> Step:
    beat = Beat(heard_from="192.0.2.10", signed_with="0a0b0c0d", phase=phase, session=session)
    return lambda node, now: node.heard(beat, now, now)


def unsigned(phase: Phase | None = None, session: bytes | None = None, hints: bool | None = None) -> Step:
    beat = Beat(heard_from="192.0.2.10", phase=phase, session=session, hints=hints)
    return lambda node, now: node.heard(beat, now, now)


def upload(phase: UploadPhase, upload: str = "u1", age: float = 0.0) -> Step:
    return lambda node, now: node.uploading(Upload(phase=phase, upload=upload), now, now - age)


def alive(node: Node, now: float) -> list[NodeEvent]:
    return node.alive("pacemaker", now, now)


def lost(node: Node, now: float) -> list[NodeEvent]:
    return node.lost("pacemaker", now, now)


def tick(node: Node, now: float) -> list[NodeEvent]:
    return node.tick(now)


def play(*steps: tuple[float, Step], rules: Rules | None = None) -> Node:
    node = Node("n1", rules or Rules())
    for now, step in steps:
        step(node, now)
    return node


def off(node: Node, now: float, asked: Grade = Grade.NONE) -> bool:
    return node.decide(now, asked=asked, asked_by="test", began=now).off


STARTED, DUMPING, SAVED, FAILED = Phase.STARTED, Phase.DUMPING, Phase.SAVED, Phase.FAILED
UP_STARTED, UP_PROGRESS, UP_FINISHED, UP_FAILED = UploadPhase

STATES: list[tuple[str, Sequence[tuple[float, Step]], State]] = [
    ("a node starts quiet", [], State.QUIET),
    ("any beat means dumping", [(0, plain)], State.DUMPING),
    ("RHEL beats during the dump", [(0, plain), (10, plain), (20, plain)], State.DUMPING),
    ("29 s without a beat are no silence", [(0, plain), (29, tick)], State.DUMPING),
    ("30 s without a beat are", [(0, plain), (30, tick)], State.SILENT),
    ("a beat ends the silence", [(0, plain), (40, tick), (50, plain)], State.DUMPING),
    ("silence is forgotten after an hour", [(0, plain), (40, tick), (3600, tick)], State.QUIET),
    ("phases are the sender's word", [(0, unsigned(STARTED)), (1, unsigned(SAVED))], State.SAVED),
    ("a failed dump", [(0, unsigned(FAILED))], State.FAILED),
    ("a second target after a failed one", [(0, unsigned(FAILED)), (1, unsigned(DUMPING))], State.DUMPING),
    ("a dump that is saved and then fails", [(0, unsigned(SAVED)), (1, unsigned(FAILED))], State.FAILED),
    ("saved stays saved while beats go on", [(0, unsigned(SAVED)), (10, plain), (20, plain)], State.SAVED),
    ("saved is no silence", [(0, unsigned(SAVED)), (100, tick)], State.SAVED),
    ("saved is forgotten after an hour", [(0, unsigned(SAVED)), (3600, tick)], State.QUIET),
    ("late dumping of the same crash", [(0, unsigned(SAVED, A)), (1, unsigned(DUMPING, A))], State.SAVED),
    ("dumping of another crash", [(0, unsigned(SAVED, A)), (1, unsigned(DUMPING, B))], State.DUMPING),
    ("beats after a pause are another crash", [(0, unsigned(SAVED)), (60, plain)], State.DUMPING),
    ("the unsigned do not overrule the signed", [(0, signed(SAVED)), (1, unsigned(FAILED))], State.SAVED),
    ("nor by another session", [(0, signed(SAVED)), (1, unsigned(DUMPING, B))], State.SAVED),
    ("the signed overrule the unsigned", [(0, unsigned(FAILED)), (1, signed(SAVED))], State.SAVED),
    ("another signed session is another crash", [(0, signed(SAVED)), (1, signed(None, B))], State.DUMPING),
    ("SUSE beats only after the dump, without phases", [(0, plain), (10, plain), (45, tick)], State.SILENT),
    ("an upload means dumping", [(0, upload(UP_STARTED))], State.DUMPING),
    (
        "an upload that goes on",
        [(0, upload(UP_STARTED)), (20, upload(UP_PROGRESS)), (45, tick)],
        State.DUMPING,
    ),
    ("an upload that ended", [(0, upload(UP_STARTED)), (20, upload(UP_FINISHED))], State.SAVED),
    ("an upload that broke", [(0, upload(UP_STARTED)), (20, upload(UP_FAILED))], State.FAILED),
    ("a broken upload alone", [(0, upload(UP_FAILED))], State.FAILED),
    ("beats after the upload", [(0, upload(UP_FINISHED)), (10, plain)], State.SAVED),
    ("a late word on the whole upload", [(0, upload(UP_FINISHED)), (1, upload(UP_PROGRESS))], State.SAVED),
    ("the next file", [(0, upload(UP_FINISHED)), (1, upload(UP_STARTED, "u2"))], State.DUMPING),
    (
        "the next file's end",
        [(0, upload(UP_FINISHED)), (1, upload(UP_STARTED, "u2")), (2, upload(UP_FINISHED, "u2"))],
        State.SAVED,
    ),
    (
        "the sender's saved before the upload's end",
        [(0, upload(UP_PROGRESS)), (1, signed(SAVED))],
        State.DUMPING,
    ),
    ("the node is back", [(0, plain), (5, alive)], State.QUIET),
    ("and crashes again", [(0, plain), (5, alive), (6, plain)], State.DUMPING),
    ("lost clears nothing", [(0, plain), (5, lost)], State.DUMPING),
]


@pytest.mark.parametrize(("steps", "state"), [case[1:] for case in STATES], ids=[case[0] for case in STATES])
def test_states(steps: Sequence[tuple[float, Step]], state: State) -> None:
    """quiet ▸ dumping ▸ saved | failed | silent; first beat and silence are not taken for more."""
    assert play(*steps).state is state


GRADES: list[tuple[str, Sequence[tuple[float, Step]], Grade]] = [
    ("nothing", [], Grade.NONE),
    ("a plain beat", [(0, plain)], Grade.UDP),
    ("hints that fit", [(0, unsigned(hints=True))], Grade.UDP_CHECKED),
    ("hints that do not fit", [(0, unsigned(hints=False))], Grade.UDP),
    ("after the cluster lost it", [(0, lost), (1, plain)], Grade.UDP_CHECKED),
    ("lost, but with wrong hints", [(0, lost), (1, unsigned(hints=False))], Grade.UDP),
    ("while known alive, whatever the hints", [(0, alive), (1, unsigned(hints=True))], Grade.UDP),
    ("signed", [(0, signed())], Grade.SIGNED),
    ("signed while known alive", [(0, alive), (1, signed())], Grade.SIGNED),
    ("the best one counts", [(0, signed()), (1, plain)], Grade.SIGNED),
    ("an upload", [(0, upload(UP_STARTED))], Grade.SSH),
    ("a whole upload", [(0, upload(UP_FINISHED))], Grade.SAVED),
    ("a broken upload proves nothing", [(0, upload(UP_FAILED))], Grade.NONE),
    ("alive clears", [(0, signed()), (1, alive)], Grade.NONE),
    ("beats after alive count", [(0, signed()), (1, alive), (2, plain)], Grade.UDP),
]


@pytest.mark.parametrize(("steps", "grade"), [case[1:] for case in GRADES], ids=[case[0] for case in GRADES])
def test_grades(steps: Sequence[tuple[float, Step]], grade: Grade) -> None:
    """none < udp < udp-checked < signed < ssh < saved."""
    assert play(*steps).best(2) is grade


@pytest.mark.parametrize(
    "step", [plain, signed(), upload(UP_PROGRESS), upload(UP_FINISHED)], ids=["udp", "signed", "ssh", "saved"]
)
def test_evidence_is_fresh_for_the_window_and_no_longer(step: Step) -> None:
    """Whatever its grade: a node that dumped, rebooted and hangs must be fenced by power."""
    node = play((100, step))
    assert off(node, 100)
    assert off(node, 125)
    assert not off(node, 125.001)


def test_better_evidence_that_is_old_leaves_the_newer_to_answer() -> None:
    """Each grade has its own age."""
    node = play((0, signed()), (20, plain))
    assert node.best(25) is Grade.SIGNED
    assert node.best(26) is Grade.UDP


@pytest.mark.parametrize("policy", [grade for grade in Grade if grade])
def test_the_policy_says_which_grade_answers(policy: Grade) -> None:
    """And a question may ask for more, never for less."""
    node = play((0, signed()), rules=Rules(off_grade=policy))
    assert off(node, 1) == (policy <= Grade.SIGNED)
    assert off(node, 1, asked=Grade.SSH) is False
    assert off(node, 1, asked=Grade.UDP) == (policy <= Grade.SIGNED)


def test_evidence_that_was_seen_before_the_node_was_alive_does_not_count() -> None:
    """A post that was queued, a datagram that lay in a socket: its age is what counts, not its arrival."""
    node = play((100, alive))
    assert node.heard(Beat(heard_from="192.0.2.10"), 105, 99) == []
    assert node.uploading(Upload(phase=UP_FINISHED), 105, 99.5) == []
    assert node.state is State.QUIET
    assert not off(node, 105)


def test_an_alive_that_is_older_than_the_evidence_leaves_it() -> None:
    """An alert that says how old it is does not clear what came after."""
    node = play((100, plain))
    assert node.alive("probe", 105, 95)[0].kind == "node.alive"
    assert node.state is State.DUMPING
    assert off(node, 105)
    assert node.alive("probe", 106, 90) == []  # older still: nothing new


def test_an_old_post_of_an_upload_is_as_old_as_it_says() -> None:
    """The receiver tries again for minutes: the state is told, but nothing is fresh."""
    node = play((1000, upload(UP_FINISHED, age=600)))
    assert node.state is State.SAVED
    assert not off(node, 1000)


def test_a_message_while_the_node_is_known_alive_is_an_alarm() -> None:
    """Somebody sends in its name, or the cluster has not noticed yet: a human should know."""
    node = play((0, alive))
    events = plain(node, 5)
    assert events[0] == Alarm(
        node="n1",
        alarm="alive",
        reason="a udp message while the node is known alive, says pacemaker",
        heard_from="192.0.2.10",
    )
    assert off(node, 5)


def test_no_alarm_once_the_cluster_has_lost_the_node() -> None:
    """The normal order of a crash under Pacemaker."""
    node = play((0, alive), (1, lost))
    assert [event.kind for event in plain(node, 5)] == ["node.dumping"]


def test_liveness_is_told_once() -> None:
    """A probe that says "alive" each second does not fill the journal."""
    node = Node("n1", Rules())
    assert node.alive("probe", 1, 1) == [Alive(node="n1", by="probe", age_seconds=0)]
    assert node.alive("probe", 2, 2) == []
    assert node.alive_at == 2
    assert node.lost("probe", 3, 3) == [Lost(node="n1", by="probe", age_seconds=0)]
    assert node.lost("probe", 4, 4) == []
    node.alive("probe", 5, 5)
    assert node.lost("probe", 6, 4) == []  # knowledge from before it was alive
    assert node.liveness is Liveness.ALIVE


def test_what_is_told_of_a_crash() -> None:
    """The events a consumer sees, in their order."""
    node = Node("n1", Rules())
    events = plain(node, 0)
    events += unsigned(hints=True)(node, 10)
    events += node.heard(
        Beat(heard_from="192.0.2.11", signed_with="0a", session=A, phase=DUMPING, progress=Progress(1, 4)),
        11,
        11,
    )
    events += upload(UP_STARTED)(node, 12)
    events += upload(UP_FINISHED)(node, 13)
    events += alive(node, 60)
    told = [(event.kind, getattr(event, "grade", None)) for event in events]
    assert told == [
        ("node.dumping", Grade.UDP),
        ("node.grade", Grade.UDP_CHECKED),
        ("node.grade", Grade.SIGNED),
        ("node.grade", Grade.SSH),
        ("node.grade", Grade.SAVED),
        ("node.saved", Grade.SAVED),
        ("node.alive", None),
        ("node.quiet", Grade.SAVED),
    ]
    assert events[0] == StateChanged(
        node="n1",
        state=State.DUMPING,
        was=State.QUIET,
        grade=Grade.UDP,
        reason="udp message from 192.0.2.10",
        heard_from="192.0.2.10",
        beats=1,
    )
    assert isinstance(events[2], GradeRose)
    assert events[2].session == "41414141-4141-4141-4141-414141414141"
    saved = events[5]
    assert isinstance(saved, StateChanged)
    assert (saved.beats, saved.done_bytes, saved.total_bytes) == (3, 1, 4)


def test_progress_of_a_lower_grade_does_not_overrule() -> None:
    """A spoofer cannot reset the bar of a signed sender."""
    node = play((0, signed(DUMPING)))
    node.heard(Beat(heard_from="192.0.2.66", progress=Progress(0, 1)), 1, 1)
    assert node.crash.progress is None


def test_a_second_crash_begins_its_own_count() -> None:
    """Beats, session and progress are of one crash."""
    node = play((0, signed(SAVED)), (1, signed(DUMPING, B)))
    assert (node.crash.beats, node.crash.session) == (1, B)


def test_an_unsigned_session_does_not_take_the_signed_ones_place() -> None:
    """Nor does it begin another crash."""
    node = play((0, signed()), (1, unsigned(None, B)))
    assert (node.crash.beats, node.crash.session) == (2, A)


def test_a_drill_is_noted_and_is_no_evidence() -> None:
    """`fence_kdump_send --test` on a node that runs."""
    node = play((0, alive))
    events = node.drilled(Beat(heard_from="192.0.2.10", signed_with="0a"), 5)
    assert events == [Drill(node="n1", grade=Grade.SIGNED, heard_from="192.0.2.10")]
    assert (node.drill_at, node.state) == (5, State.QUIET)
    assert not off(node, 5)


@pytest.mark.parametrize(
    ("steps", "now", "asked", "reason"),
    [
        ([], 0, Grade.NONE, "nothing heard from n1"),
        ([(0, plain)], 2.1, Grade.NONE, "udp message 2.1 s ago, 1 beat"),
        ([(0, plain), (1, signed())], 3, Grade.NONE, "signed message 2.0 s ago, 2 beats"),
        ([(0, upload(UP_STARTED))], 3, Grade.NONE, "authenticated upload, bytes 3.0 s ago, 0 beats"),
        ([(0, upload(UP_FINISHED))], 3, Grade.NONE, "whole dump received 3.0 s ago, 0 beats"),
        ([(0, plain)], 3, Grade.SIGNED, "the best evidence is udp (3.0 s ago), the policy asks for signed"),
        ([(0, plain)], 61, Grade.NONE, "the last evidence is 61.0 s old, older than the window of 25 s"),
        ([(0, plain), (5, alive)], 6, Grade.NONE, "nothing since it was alive 1.0 s ago, says pacemaker"),
    ],
    ids=["nothing", "udp", "signed", "ssh", "saved", "too weak", "too old", "alive"],
)
def test_every_answer_has_its_reason(
    steps: Sequence[tuple[float, Step]], now: float, asked: Grade, reason: str
) -> None:
    """What stands in the journal, in the agent's log, and in the post-mortem of the fail-over."""
    node = play(*steps)
    answer = node.decide(now, asked=asked, asked_by="test", began=now - 1)
    assert answer.reason == reason
    assert answer.waited_seconds == 1


def test_the_age_of_an_answer_is_that_of_its_evidence() -> None:
    """Of the best fresh one; of the last one where none is fresh; none where there was none."""
    node = play((0, signed()), (10, plain))
    ages = [node.decide(now, asked=Grade.NONE, asked_by="", began=now).age_seconds for now in (12, 30, 50)]
    assert ages == [12, 20, 40]
    assert Node("n2", Rules()).decide(0, asked=Grade.NONE, asked_by="", began=0).age_seconds is None


@pytest.mark.parametrize(
    ("steps", "deadline"),
    [
        ([], None),
        ([(5, plain)], 35),
        ([(5, plain), (9, plain)], 39),
        ([(5, plain), (40, tick)], 3605),
        ([(5, unsigned(SAVED))], 3605),
        ([(5, upload(UP_FAILED))], 3605),
    ],
    ids=["quiet", "dumping", "beat again", "silent", "saved", "failed"],
)
def test_deadlines(steps: Sequence[tuple[float, Step]], deadline: float | None) -> None:
    """When the shell must call `tick`: at no other time does it change anything."""
    node = play(*steps)
    assert node.deadline() == deadline
    if deadline is not None:
        assert node.tick(deadline - 0.001) == []
        assert node.tick(deadline) != []


def test_a_signed_message_is_judged_with_the_nodes_own_memory() -> None:
    """The rules of the node, its alive, its sessions."""
    node = play((0, alive))
    message = Message(node="n1", session=A, sequence=1000, time=1000)
    assert node.judge(message, 5, 1.0) == Fresh(5)
    assert node.judge(message, 6, 1.0) == Copy()
