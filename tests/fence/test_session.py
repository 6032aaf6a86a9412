"""fence.session: old signed messages are told from new ones, without synchronised clocks."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.session import DOUBTED, REMEMBERED, Copy, Doubted, Fresh, Refused, Sessions, Verdict

A, B, C = (bytes([letter]) * 16 for letter in b"ABC")
WALL = 1_700_000_000.0
TIME = int(WALL * 1000)


def judge(
    sessions: Sessions, session: bytes, sequence: int, at: float, time: int = TIME, **changes: Any
) -> Verdict:
    rules = {"wall": WALL, "alive_at": None, "window": 25.0, "max_skew": 26 * 3600.0} | changes
    return sessions.judge(session, sequence, time, at=at, **rules)


def test_beats_of_one_capture_kernel_are_new_each_time() -> None:
    """The normal case: a clock that grows."""
    sessions = Sessions()
    assert [judge(sessions, A, at * 1000, 100.0 + at) for at in (5, 15, 25)] == [
        Fresh(105),
        Fresh(115),
        Fresh(125),
    ]


def test_a_late_beat_is_as_old_as_its_sending() -> None:
    """Evidence is fresh from when it was sent, or a held-back beat would be fresh twice as long."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    assert judge(sessions, A, 15000, 120) == Fresh(110)


def test_the_same_beat_to_a_second_address_is_a_copy() -> None:
    """A sender that sends to all addresses of the daemon is no attack."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    assert judge(sessions, A, 5000, 100.1) == Copy()


def test_a_beat_from_before_is_refused() -> None:
    """A replay within a session."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    judge(sessions, A, 15000, 110)
    assert judge(sessions, A, 5000, 111) == Refused("backwards", "10000 ms before one that was here already")


def test_a_beat_held_back_on_its_way_is_refused() -> None:
    """Swallowed by somebody on the path and delivered when the node is back: its clock tells."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    assert judge(sessions, A, 15000, 300) == Refused(
        "held-back", "190.0 s later than the others of its session"
    )


def test_a_beat_sent_before_the_node_was_alive_is_refused() -> None:
    """Even within the window, and even with a sequence never seen."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    verdict = judge(sessions, A, 9000, 106, alive_at=105.0)
    assert verdict == Refused("replay", "sent 1.0 s before the node was known alive")


def test_a_dump_that_goes_on_after_a_wrong_alive_is_heard() -> None:
    """An alert that came late must not silence a real dump: what was sent after it counts."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    assert judge(sessions, A, 15000, 110, alive_at=105.0) == Fresh(110)


def test_a_faster_beat_sets_the_reference_anew() -> None:
    """The first beat may have been slow; the fastest one tells the delay of the others."""
    sessions = Sessions()
    judge(sessions, A, 1000, 120)  # 20 s on its way: ARP, a slow switch
    judge(sessions, A, 2000, 101)
    assert sessions.current is not None
    assert sessions.current.lag == 99
    assert isinstance(judge(sessions, A, 3000, 130), Refused)


def test_a_superseded_session_never_comes_back() -> None:
    """A recording of the last crash, played after the next."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    judge(sessions, B, 5000, 1000, TIME + 1)
    assert judge(sessions, A, 9000, 1001) == Refused("replay", "of a session that another one has superseded")


def test_an_unseen_session_must_be_younger_by_the_nodes_own_clock() -> None:
    """A recording that this daemon never heard, played after a newer crash; or a dead RTC battery."""
    sessions = Sessions()
    judge(sessions, B, 5000, 100, TIME)
    verdict = judge(sessions, A, 5000, 101, TIME - 60_000)
    assert verdict == Doubted("clock", "a session that begins 60.0 s before the last one by the node's clock")
    assert sessions.current is not None
    assert sessions.current.id == B


@pytest.mark.parametrize("skew", [-27 * 3600, 27 * 3600, -WALL])
def test_a_session_from_another_day_is_doubted(skew: float) -> None:
    """Recorded long ago, or a clock that is far off: no better than unsigned."""
    verdict = judge(Sessions(), A, 5000, 100, int((WALL + skew) * 1000))
    assert verdict == Doubted("clock", f"the node's clock is {abs(skew) / 3600:.1f} h off")


def test_an_rtc_in_local_time_is_no_skew() -> None:
    """A capture kernel takes the RTC for UTC; 14 hours are the worst there is."""
    assert judge(Sessions(), A, 5000, 100, TIME + 14 * 3600_000) == Fresh(100)


def test_after_a_reboot_of_our_host_a_session_proves_nothing_more() -> None:
    """A beat that somebody held back over the boot looks like a new one: it counts as unsigned."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    sessions.clock_gone(alive_at=99)
    assert judge(sessions, A, 5000, 3) == Copy()
    assert isinstance(judge(sessions, A, 60_000, 3), Doubted)
    assert isinstance(judge(sessions, A, 61_000, 60), Doubted)
    assert judge(sessions, B, 1000, 61, TIME + 1) == Fresh(61)  # a session that begins now is as good as any


def test_after_a_reboot_of_our_host_a_session_from_before_a_life_is_closed() -> None:
    """What was swallowed then cannot be told from what is new: refused."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    sessions.clock_gone(alive_at=101)
    assert judge(sessions, A, 60_000, 3) == Refused("replay", "of a session from before the node was alive")
    assert judge(sessions, B, 1000, 4, TIME + 1) == Fresh(4)
    assert judge(sessions, B, 2000, 5) == Fresh(5)


def test_alive_closes_a_session_of_which_no_time_is_known() -> None:
    """Right after our host booted, nothing tells what of it was sent before."""
    sessions = Sessions()
    judge(sessions, A, 5000, 100)
    sessions.alive()
    assert judge(sessions, A, 6000, 101) == Fresh(101)
    sessions.clock_gone(alive_at=None)
    sessions.alive()
    assert judge(sessions, A, 7000, 3) == Refused("replay", "of a session from before the node was alive")


def test_a_session_in_doubt_is_remembered() -> None:
    """Our clock was wrong when it came: when it is right again, no recording of it passes for new."""
    sessions = Sessions()
    first = judge(sessions, A, 5000, 100, wall=0.0)
    assert isinstance(first, Doubted)
    assert judge(sessions, A, 5000, 200) == Copy()
    assert isinstance(judge(sessions, A, 6000, 200), Refused)  # held back
    assert isinstance(judge(sessions, A, 15_000, 110, wall=0.0), Doubted)
    assert judge(sessions, A, 25_000, 120) == Fresh(120)
    assert sessions.doubted == []
    assert judge(sessions, A, 35_000, 130, wall=0.0) == Fresh(130)


def test_the_memory_of_sessions_is_bounded() -> None:
    """A node that crashes for ever does not fill the daemon."""
    sessions = Sessions()
    for number in range(REMEMBERED * 2):
        judge(sessions, number.to_bytes(16, "big"), 1, number, TIME + number)
        judge(sessions, (number + 1000).to_bytes(16, "big"), 1, number, 0)
    assert len(sessions.past) == REMEMBERED
    assert len(sessions.doubted) == DOUBTED


CALLS = st.tuples(
    st.sampled_from((A, B, C)), st.integers(0, 100_000), st.floats(0, 1000), st.integers(0, 2**64 - 1)
)


@given(st.lists(CALLS, max_size=30), st.floats(0, 1000) | st.none())
def test_no_message_is_new_twice_and_what_is_refused_leaves_no_trace(
    calls: list[tuple[bytes, int, float, int]], alive_at: float | None
) -> None:
    """Whatever comes in whatever order: the law of replay protection."""
    sessions = Sessions()
    taken = set()
    for session, sequence, at, time in calls:
        before = deepcopy(sessions)
        verdict = judge(sessions, session, sequence, at, time, alive_at=alive_at)
        if isinstance(verdict, Fresh):
            assert verdict.sent_at <= at
            assert (session, sequence) not in taken
            taken.add((session, sequence))
        elif not isinstance(verdict, Doubted):
            assert before == sessions
