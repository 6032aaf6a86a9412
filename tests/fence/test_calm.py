"""fence.calm: a flood of datagrams is no flood of events."""

from __future__ import annotations

from fence.calm import BURST, Calm
from fence.events import Alarm, Alive, Drill, Grade, NodeEvent, State, StateChanged


def change(state: State, was: State, node: str = "n1") -> StateChanged:
    return StateChanged(node=node, state=state, was=was, grade=Grade.UDP, reason="")


def alarm(kind: str = "replay", node: str = "n1") -> Alarm:
    return Alarm(node=node, alarm=kind, reason="")


def test_an_alarm_is_told_once_a_minute_with_its_count() -> None:
    """For each node and kind by itself."""
    calm = Calm()
    assert calm.pass_on([alarm()] * 5, 0) == [alarm()]
    assert calm.pass_on([alarm("clock"), alarm(node="n2")], 1) == [alarm("clock"), alarm(node="n2")]
    assert calm.pass_on([alarm()], 59) == []
    (told,) = calm.pass_on([alarm()], 61)
    assert isinstance(told, Alarm)
    assert told.count == 6
    assert calm.withheld == 5


def test_drills_are_told_once_a_minute() -> None:
    """A test in a loop is no news."""
    drill = Drill(node="n1", grade=Grade.UDP, heard_from="192.0.2.10")
    calm = Calm()
    assert calm.pass_on([drill, drill], 0) == [drill]
    assert calm.pass_on([drill], 60) == [drill]


def test_a_spoofer_that_makes_a_node_flap_is_told_slowly_and_the_last_state_never_gets_lost() -> None:
    """Who follows the stream ends with the truth, and with a `was` that joins what was told."""
    calm = Calm()
    told: list[NodeEvent] = []
    states = [State.DUMPING, State.SAVED]
    for number in range(1000):
        told += calm.pass_on([change(states[number % 2], states[(number + 1) % 2])], 0)  # type: ignore[arg-type]
    assert len(told) == BURST
    assert calm.pass_on([change(State.FAILED, State.SAVED)], 0.1) == []
    assert calm.due(0.2) == []
    (late,) = calm.due(10)
    assert isinstance(late, StateChanged)
    assert (late.was, late.state) == (states[1], State.FAILED)
    assert calm.due(20) == []


def test_a_node_that_flapped_back_has_nothing_to_tell() -> None:
    """It is as it was told."""
    calm = Calm()
    calm.pass_on([Alive(node="n1", by="x", age_seconds=0)] * int(BURST), 0)
    calm.pass_on([change(State.DUMPING, State.QUIET), change(State.QUIET, State.DUMPING)], 0)
    assert calm.due(100) == []


def test_other_events_spend_the_same_credit() -> None:
    """And other nodes have their own."""
    calm = Calm()
    event = Alive(node="n1", by="x", age_seconds=0)
    assert len(calm.pass_on([event] * 100, 0)) == BURST
    assert calm.pass_on([change(State.DUMPING, State.QUIET, "n2")], 0)
    assert calm.pass_on([event] * 10, 4) == [event] * 2  # half a one each second


def test_a_node_that_is_gone_is_forgotten() -> None:
    """Nothing of it comes late, and nothing of it stays."""
    calm = Calm()
    calm.pass_on([alarm()], 0)
    calm.pass_on([Alive(node="n1", by="x", age_seconds=0)] * int(BURST), 0)
    calm.pass_on([change(State.DUMPING, State.QUIET)], 0)
    calm.forget("n1")
    assert calm.due(100) == []
    assert calm.pass_on([alarm()], 1) == [alarm()]
