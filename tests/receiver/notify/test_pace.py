"""When a target is told: the burst, the digest, the pauses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.notify import pace
from receiver.notify.pace import LONGEST_SECONDS, Limits, Pace, Row, Send, Wait

LIMITS = Limits(burst=3, period=60.0)


def rows(*ids: int) -> list[Row]:
    return [Row(number, 0, 0.0) for number in ids]


def test_a_few_events_are_told_one_by_one() -> None:
    assert pace.decide(Pace(), LIMITS, [], 0.0) == Wait(None)
    assert pace.decide(Pace(), LIMITS, rows(1, 2), 0.0) == Send((1,), digest=False)


def test_a_storm_is_one_digest_a_period() -> None:
    """Three at once, the rest together at the end of the minute; while it lasts, one message a minute."""
    state, now, told = Pace(), 0.0, []
    waiting = rows(*range(1, 501))
    while now < 200:
        match pace.decide(state, LIMITS, waiting, now):
            case Send() as send:
                told.append((now, len(send.rows)))
                waiting = [row for row in waiting if row.id not in send.rows]
                state = pace.sent(state, LIMITS, send, now)
            case Wait():
                now += 1
                waiting.append(Row(1000 + int(now), 0, 0.0))
    assert told == [(0.0, 1), (0.0, 1), (0.0, 1), (60.0, 557), (120.0, 60), (180.0, 60)]


def test_after_a_quiet_period_events_are_told_at_once_again() -> None:
    state = Pace(sent=(100.0,), limited=True)
    assert pace.decide(state, LIMITS, rows(9), 130.0) == Wait(160.0)
    send = pace.decide(state, LIMITS, rows(9), 160.0)
    assert send == Send((9,), digest=False)
    assert isinstance(send, Send)
    state = pace.sent(state, LIMITS, send, 160.0)
    assert pace.decide(state, LIMITS, rows(10), 161.0) == Send((10,), digest=False)


def test_a_digest_that_may_have_arrived_is_tried_again_as_it_was() -> None:
    """So that its id is the same, and a receiver can drop the double."""
    state = Pace(sent=(0.0,), limited=True)
    send = pace.decide(state, LIMITS, rows(1, 2, 3), 60.0)
    assert isinstance(send, Send)
    state = pace.failed(state, send, 60.0, 0.5)
    assert isinstance(pace.decide(state, LIMITS, rows(1, 2, 3, 4), 60.1), Wait)
    assert pace.decide(state, LIMITS, rows(1, 2, 3, 4), 100.0) == send


def test_what_is_refused_waits_alone() -> None:
    """One event that a target does not want must not hold up the others."""
    waiting = [Row(1, 2, 500.0), *rows(2)]
    assert pace.decide(Pace(), LIMITS, waiting, 0.0) == Send((2,), digest=False)
    assert pace.decide(Pace(), LIMITS, waiting[:1], 0.0) == Wait(500.0)
    assert pace.decide(Pace(), LIMITS, waiting[:1], 500.0) == Send((1,), digest=False, attempts=2)


def test_a_target_may_ask_for_a_pause_but_not_for_ever() -> None:
    """Retry-After."""
    send = Send((1,), digest=False)
    assert pace.failed(Pace(), send, 0.0, 0.0, asked=120.0).down_until == 120.0
    assert pace.failed(Pace(), send, 0.0, 0.0, asked=1e9).down_until == 3600.0


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1))
def test_pauses_grow_and_are_bounded(attempts: int, luck: float) -> None:
    """A target that is back is found so within ten minutes; a hundred collectors do not ask at once."""
    pause = pace.backoff(attempts, luck)
    assert 1 <= pause <= LONGEST_SECONDS
    assert pause <= 2.0 ** min(attempts, 20)
    assert pace.backoff(attempts + 1, luck) >= pause


@given(
    st.lists(st.sampled_from(["event", "tick", "fail"]), max_size=200),
    st.integers(min_value=0, max_value=5),
)
def test_no_event_is_told_twice_or_lost_whatever_happens(steps: list[str], burst: int) -> None:
    """And never more than `burst` messages in any one period (a failed try is none)."""
    limits, state, now, number = Limits(burst, 10.0), Pace(), 0.0, 0
    waiting: list[Row] = []
    told: list[int] = []
    at: list[float] = []
    for step in [*steps, *["tick"] * 3000]:
        now += 1.0
        if step == "event":
            number += 1
            waiting.append(Row(number, 0, 0.0))
        state = pace.from_json(pace.as_json(state))  # as over a restart
        match pace.decide(state, limits, waiting, now):
            case Send() as send if step == "fail":
                state = pace.failed(state, send, now, 0.5)
            case Send() as send:
                told += send.rows
                at.append(now)
                waiting = [row for row in waiting if row.id not in send.rows]
                state = pace.sent(state, limits, send, now)
    assert sorted(told) == list(range(1, number + 1))
    if burst:
        assert all(later - first >= 10.0 for first, later in zip(at, at[burst + 1 :], strict=False))
