"""How often a password may be tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.hosts import limits
from receiver.hosts.limits import (
    FREE,
    LONGEST_SECONDS,
    SOURCES,
    TRIES_IN_WINDOW,
    WINDOW_SECONDS,
    PasswordLimits,
    source_of,
)

PEERS = st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "unknown"])
TRIES = st.lists(st.tuples(PEERS, st.floats(0, 5000, allow_nan=False), st.booleans()), max_size=120)


def test_the_first_tries_are_free_and_then_each_wait_is_twice_the_last() -> None:
    """Typing errors cost nothing; a list of passwords does."""
    tries = PasswordLimits()
    assert [tries.attempt("10.0.0.1", 100.0) for _ in range(FREE)] == [0.0] * FREE
    now, waits = 100.0, []
    for _ in range(14):
        waits.append(tries.attempt("10.0.0.1", now))
        now += waits[-1]
        assert tries.attempt("10.0.0.1", now) == 0.0
    assert waits == [min(2.0**n, LONGEST_SECONDS) for n in range(14)]
    assert tries.attempt("10.0.0.2", now) == 0.0, "nobody else waits"


def test_a_right_password_does_not_count_but_forgives_nothing() -> None:
    """A thousand hosts behind one address enrol in a row; one token does not buy guesses at another."""
    tries = PasswordLimits()
    for n in range(1000):
        assert tries.attempt("10.0.0.1", n / 1000) == 0.0
        tries.right("10.0.0.1", n / 1000)
    assert len(tries) == 0
    for _ in range(FREE - 1):
        assert tries.attempt("10.0.0.1", 2.0) == 0.0
    assert tries.attempt("10.0.0.1", 2.0) == 0.0
    tries.right("10.0.0.1", 2.0)
    assert tries.attempt("10.0.0.1", 2.0) == 0.0
    assert tries.attempt("10.0.0.1", 2.0) > 0.0


def test_tries_that_are_under_way_count() -> None:
    """A thousand connections at once do not all get their guess."""
    tries = PasswordLimits()
    assert sum(tries.attempt("10.0.0.1", 1.0) == 0.0 for _ in range(1000)) == FREE


def test_an_ipv6_network_is_one_source() -> None:
    """A host may take any of its network's 2**64 addresses."""
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:0:1::1")
    assert source_of("10.0.0.1") != source_of("10.0.0.2")


def test_quiet_sources_are_forgotten() -> None:
    """Yesterday's typing errors do not slow today's."""
    tries = PasswordLimits()
    for _ in range(FREE):
        tries.attempt("10.0.0.1", 0.0)
    assert tries.attempt("10.0.0.1", 0.5) > 0.0
    assert [tries.attempt("10.0.0.1", limits.FORGOTTEN_SECONDS + 1) for _ in range(FREE)] == [0.0] * FREE


@given(TRIES)
def test_no_source_gets_more_than_its_share_of_any_time(steps: list[tuple[str, float, bool]]) -> None:
    """In any T seconds a source has the free tries and then one for each doubling."""
    tries, now = PasswordLimits(), 0.0
    wrong: dict[str, list[float]] = {}
    for peer, pause, right in steps:
        now += pause / 1000
        if tries.attempt(peer, now) > 0.0:
            continue
        if right:
            tries.right(peer, now)
        else:
            wrong.setdefault(source_of(peer), []).append(now)
    for times in wrong.values():
        for extra in range(len(times) - FREE):
            # The last `extra + 1` tries beyond the free ones waited 1 + 2 + … seconds in all.
            waited = times[FREE + extra] - times[0]
            assert waited >= sum(min(2.0**n, LONGEST_SECONDS) for n in range(extra + 1)) - 1e-6


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans()), min_size=1, max_size=40), st.integers(1, 4))
def test_all_sources_together_have_a_bound_in_every_window(
    steps: list[tuple[float, bool]], most: int
) -> None:
    """A botnet of fresh addresses costs us so many looks a minute and no more."""
    original = limits.TRIES_IN_WINDOW
    limits.TRIES_IN_WINDOW = most  # type: ignore[misc]
    try:
        tries, now, wrong = PasswordLimits(), 0.0, []
        for n, (pause, right) in enumerate(steps):
            now += pause
            wait = tries.attempt(f"10.0.{n // 256}.{n % 256}", now)
            assert 0 <= wait <= WINDOW_SECONDS
            if wait == 0.0:
                if right:
                    tries.right(f"10.0.{n // 256}.{n % 256}", now)
                else:
                    wrong.append(now)
        for start in wrong:
            assert sum(start <= when < start + WINDOW_SECONDS for when in wrong) <= most
    finally:
        limits.TRIES_IN_WINDOW = original  # type: ignore[misc]


def test_a_right_password_takes_its_own_try_out_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that somebody else got wrong later, which would leave the window too early."""
    monkeypatch.setattr(limits, "TRIES_IN_WINDOW", 2)
    tries = PasswordLimits()
    assert tries.attempt("10.0.0.1", 0.0) == 0.0
    assert tries.attempt("10.0.0.2", 50.0) == 0.0
    tries.right("10.0.0.1", 0.0)
    assert tries.attempt("10.0.0.3", 61.0) == 0.0
    assert tries.attempt("10.0.0.4", 61.0) == 49.0


def test_the_table_is_bounded() -> None:
    """Strangers cannot fill our memory."""
    tries = PasswordLimits()
    for n in range(3 * SOURCES):
        now = n * WINDOW_SECONDS / TRIES_IN_WINDOW * 2
        assert tries.attempt(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", now) == 0.0
        assert len(tries) <= SOURCES
    assert len(tries) == SOURCES


@pytest.mark.parametrize("peer", ["", "unknown", "10.0.0.1", "::"])
def test_any_peer_can_be_counted(peer: str) -> None:
    """A peer without an address is a source like others."""
    assert PasswordLimits().attempt(peer, 0.0) == 0.0
