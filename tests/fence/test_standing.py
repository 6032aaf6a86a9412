"""fence.standing: what a node was before the daemon's restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fence import standing
from fence.events import Grade, State
from fence.message import Phase, Progress
from fence.node import Beat, Crash, Liveness, Node, Rules, Upload, UploadPhase
from fence.session import Session, Sessions

WALL = 1_700_000_000.0


def busy() -> Node:
    """A node with something in every field."""
    node = Node("n1", Rules())
    node.alive("pacemaker", 50, 50)
    node.drilled(Beat(heard_from="192.0.2.10", signed_with="0a"), 60)
    node.lost("pacemaker", 90, 90)
    beat = Beat(
        heard_from="192.0.2.10",
        signed_with="0a",
        session=b"A" * 16,
        phase=Phase.DUMPING,
        progress=Progress(1, 4),
    )
    node.heard(beat, 100, 100)
    node.uploading(Upload(phase=UploadPhase.PROGRESS, upload="u1"), 101, 101)
    node.sessions = Sessions(session(b"A" * 16, 100), [b"0" * 16], [session(b"B" * 16, 50)])
    return node


def session(name: bytes, at: float) -> Session:
    return Session(name, sequence=5000, at=at, first_time=1_700_000_000_000, lag=at - 5)


def again(node: Node, now: float, *, same_clock: bool, wall: float = WALL) -> Node:
    found = Node("n1", Rules())
    standing.recall(found, standing.written(node, 101, WALL), now, wall, same_clock=same_clock)
    return found


def fields(node: Node) -> dict[str, Any]:
    return {name: getattr(node, name) for name in Node.__slots__}


def test_after_a_restart_everything_is_as_it_was_and_as_old_as_it_is() -> None:
    """The same boot: no evidence is lost, and none got younger."""
    node, found = busy(), again(busy(), 110, same_clock=True, wall=WALL + 9)
    assert fields(found) | {"changed": True} == fields(node)
    assert found.best(120) is Grade.SSH
    assert found.best(130) is Grade.NONE


def test_after_a_reboot_of_our_host_nothing_is_fresh() -> None:
    """The clock began anew: ages mean nothing, and an early time of it must not look recent."""
    found = again(busy(), 3, same_clock=False, wall=WALL + 300)
    assert (found.seen, found.best(3), found.alive_at, found.liveness) == (
        {},
        Grade.NONE,
        None,
        Liveness.UNKNOWN,
    )
    assert found.state is State.SILENT
    assert found.deadline() == 3603
    assert found.sessions.current == Session(b"A" * 16, 5000, 100, 1_700_000_000_000, None)
    assert found.sessions.past == [b"0" * 16]
    assert found.drill_at == pytest.approx(60 - 101 + 3 - 300)


def test_a_session_that_a_life_ended_stays_ended_over_a_reboot() -> None:
    """Or what was swallowed before that life could be played after the reboot."""
    node = busy()
    node.alive("pacemaker", 105, 105)
    current, doubted = (again(each, 3, same_clock=False).sessions.current for each in (node, busy()))
    assert current is not None
    assert current.closed
    assert doubted is not None
    assert not doubted.closed


@pytest.mark.parametrize("state", [State.SAVED, State.FAILED, State.QUIET])
def test_what_is_over_stays_over(state: State) -> None:
    """Only a dump of which we do not know becomes silent."""
    node = busy()
    node.state = state
    assert again(node, 3, same_clock=False).state is state


def test_a_node_of_which_nothing_is_known_is_remembered_so() -> None:
    """All the fields that may be empty."""
    node = Node("n1", Rules())
    assert fields(again(node, 5, same_clock=True)) | {"changed": True} == fields(node)
    assert again(node, 5, same_clock=False).crash == Crash()


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"state":"gone"}'])
def test_a_damaged_line_changes_nothing(damage: str) -> None:
    """The caller hears of it, and the node is as if never seen."""
    node = Node("n1", Rules())
    before = fields(node)
    with pytest.raises((ValueError, KeyError, TypeError)):
        standing.recall(node, damage, 5, WALL, same_clock=True)
    assert fields(node) == before


def test_every_line_lacking_a_key_is_damaged() -> None:
    """No half-remembered node: each key is needed."""
    row = json.loads(standing.written(busy(), 101, WALL))
    for key in row:
        node = Node("n1", Rules())
        text = json.dumps({name: value for name, value in row.items() if name != key})
        with pytest.raises((ValueError, KeyError, TypeError)):
            standing.recall(node, text, 110, WALL, same_clock=True)
        assert (node.state, node.seen, node.heard_from) == (State.QUIET, {}, None)
