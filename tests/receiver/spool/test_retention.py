"""Which cores go: never a pinned, receiving or protected one, and never for nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.spool.retention import DAY, KEPT, Dump, Need, Plan, Policy, days, in_storm, plan, spare

NOW = 1_800_000_000.0


@st.composite
def spools(draw: st.DrawFn) -> list[Dump]:
    """Dumps of a few hosts and groups, so that they meet."""
    dumps = []
    for number in range(draw(st.integers(0, 14))):
        cores = draw(st.sampled_from([0, 1, 1, 1, 2]))
        dumps.append(
            Dump(
                id=f"{number:x}",
                directory=f"d{number}",
                host=draw(st.sampled_from(["web01", "web02", "db"])),
                group=draw(st.sampled_from(["a", "b", None])),
                seconds=NOW - draw(st.integers(0, 400)) * DAY / 4,
                complete=cores > 0 and draw(st.booleans()),
                cores=cores,
                core_bytes=draw(st.integers(0, 1000)) if cores else 0,
                rest_bytes=draw(st.integers(0, 50)),
                pinned=draw(st.integers(0, 5)) == 0,
                receiving=draw(st.integers(0, 7)) == 0,
            )
        )
    return dumps


COUNTS = st.none() | st.integers(0, 4)
POLICIES = st.builds(
    Policy,
    core_seconds=st.none() | st.integers(1, 90).map(lambda n: n * DAY),
    dump_seconds=st.none() | st.integers(1, 120).map(lambda n: n * DAY),
    cores_per_host=COUNTS,
    cores_per_group=COUNTS,
    keep=st.frozensets(st.sampled_from(KEPT)),
    evict=st.booleans(),
    storm_cores=st.none() | st.integers(1, 3),
    storm_seconds=st.integers(1, 40).map(lambda n: n * DAY),
)
NEEDS = st.lists(
    st.builds(
        Need,
        bytes=st.integers(0, 4000),
        why=st.just("space is short"),
        host=st.sampled_from([None, "web01", "db"]),
    ),
    max_size=3,
)


def after(done: Plan) -> list[Dump]:
    """The dumps that are left when the plan was carried out."""
    left = []
    for choice in done.choices:
        if choice.act == "keep":
            left.append(choice.dump)
        elif choice.act == "drop core":
            left.append(replace(choice.dump, cores=0, core_bytes=0, complete=False))
    return left


def dropped(done: Plan) -> set[str]:
    return {choice.dump.directory for choice in done.drops}


@given(spools(), POLICIES, NEEDS)
def test_pinned_and_receiving_dumps_stay_whatever_the_rules_and_needs(
    dumps: list[Dump], policy: Policy, needs: list[Need]
) -> None:
    for choice in plan(dumps, policy, NOW, needs).drops:
        assert not choice.dump.pinned
        assert not choice.dump.receiving


@given(spools(), POLICIES, NEEDS)
def test_the_first_and_last_of_a_group_and_the_last_of_a_host_stay(
    dumps: list[Dump], policy: Policy, needs: list[Need]
) -> None:
    """Unless the operator says otherwise: in `keep`, or by a storm's rule."""
    policy = replace(policy, keep=frozenset(KEPT), storm_cores=None, cores_per_group=None)
    gone = dropped(plan(dumps, policy, NOW, needs))
    cores = sorted((d for d in dumps if d.cores), key=lambda d: (d.seconds, d.directory))
    for group in ("a", "b"):
        members = [dump for dump in cores if dump.group == group]
        assert not {dump.directory for dump in (*members[:1], *members[-1:])} & gone
        assert not {dump.directory for dump in [d for d in members if d.complete][:1]} & gone
    for host in ("web01", "web02", "db"):
        assert not {dump.directory for dump in [d for d in cores if d.host == host][-1:]} & gone


@given(spools(), POLICIES)
def test_the_groups_rule_spares_first_last_and_the_complete_ones(dumps: list[Dump], policy: Policy) -> None:
    only = Policy(cores_per_group=policy.cores_per_group, keep=policy.keep)
    done = plan(dumps, only, NOW)
    for group in ("a", "b"):
        members = [c for c in done.choices if c.dump.group == group and c.dump.cores]
        for end in (*members[:1], *members[-1:]):
            assert end.act == "keep"
        if only.cores_per_group is not None:
            whole = [c for c in members[1:-1] if c.dump.complete]
            assert all(c.act == "keep" for c in whole[: only.cores_per_group])


@given(spools(), POLICIES, NEEDS)
def test_a_second_run_finds_nothing_to_do(dumps: list[Dump], policy: Policy, needs: list[Need]) -> None:
    """Unless it is a dump whose core went a moment ago and that is too old itself."""
    first = plan(dumps, policy, NOW, needs)
    second = plan(after(first), policy, NOW)
    assert all(choice.act == "drop dump" for choice in second.drops)
    assert not plan(after(second), policy, NOW).drops


@given(spools(), POLICIES, NEEDS)
def test_it_frees_what_was_asked_or_says_what_lacks(
    dumps: list[Dump], policy: Policy, needs: list[Need]
) -> None:
    done = plan(dumps, policy, NOW, needs)
    for need in needs:
        ours = [c for c in done.drops if c.act == "drop core" and need.host in {None, c.dump.host}]
        freed = sum(choice.frees for choice in ours)
        short = [lacks for lacks in done.unmet if (lacks.host, lacks.why) == (need.host, need.why)]
        assert freed >= need.bytes or short


@given(spools(), POLICIES, st.integers(1, 20_000))
def test_a_need_that_cannot_be_met_costs_nothing(dumps: list[Dump], policy: Policy, size: int) -> None:
    """A refused upload must not cost a stored one."""
    done = plan(dumps, policy, NOW, [Need(size, "space is short")])
    if done.unmet:
        assert dropped(done) == dropped(plan(dumps, policy, NOW))
        assert done.unmet[0].bytes <= size


@given(spools(), POLICIES, st.integers(0, 2000), st.integers(0, 2000))
def test_a_larger_need_takes_no_less(dumps: list[Dump], policy: Policy, small: int, more: int) -> None:
    less = plan(dumps, policy, NOW, [Need(small, "space is short")])
    greater = plan(dumps, policy, NOW, [Need(small + more, "space is short")])
    assert greater.unmet or dropped(less) <= dropped(greater)


@given(spools(), POLICIES, st.integers(0, 100))
def test_what_goes_today_would_go_tomorrow(dumps: list[Dump], policy: Policy, later: int) -> None:
    assert dropped(plan(dumps, policy, NOW)) <= dropped(plan(dumps, policy, NOW + later * DAY))


@given(spools(), POLICIES, st.integers(0, 2000))
def test_the_oldest_go_first(dumps: list[Dump], policy: Policy, size: int) -> None:
    """Of those that only space drops, none stays that is older than one that goes."""
    without = plan(dumps, policy, NOW)
    done = plan(dumps, policy, NOW, [Need(size, "space is short")])
    evicted = [c.dump for c in done.drops if c.dump.directory not in dropped(without)]
    waiting = [dump for dump in done.order if dump.core_bytes]
    assert all(dump.seconds <= other.seconds for dump in evicted for other in waiting)


@given(spools(), POLICIES, NEEDS)
def test_every_dump_has_one_choice_with_a_reason(
    dumps: list[Dump], policy: Policy, needs: list[Need]
) -> None:
    done = plan(dumps, policy, NOW, needs)
    assert sorted(c.dump.directory for c in done.choices) == sorted(d.directory for d in dumps)
    assert all(choice.reason for choice in done.choices)
    assert all(choice.frees == 0 for choice in done.choices if choice.act == "keep")
    if not policy.evict:
        assert dropped(done) == dropped(plan(dumps, policy, NOW))


def cores(count: int, *, group: str | None = "a", every: float = DAY, complete: bool = True) -> list[Dump]:
    """So many of one host, the newest now."""
    return [
        Dump(f"{n}", f"d{n}", "web01", group, NOW - (count - 1 - n) * every, complete, 1, 100, 5)
        for n in range(count)
    ]


def reasons(done: Plan) -> dict[str, str]:
    return {c.dump.directory: f"{c.act}: {c.reason}" for c in done.choices}


def test_the_reasons_say_which_rule_and_which_numbers() -> None:
    dumps = cores(200)
    dumps[3] = replace(dumps[3], pinned=True)
    said = reasons(plan(dumps, Policy(core_seconds=90 * DAY), NOW))
    assert said["d0"] == "keep: the first of its group"
    assert said["d1"] == "drop core: older than 90 days and neither first nor last of its group"
    assert said["d3"] == "keep: pinned"
    assert said["d199"] == "keep: the last of its group"
    said = reasons(plan(cores(5), Policy(cores_per_group=1), NOW))
    assert said["d2"] == "drop core: beyond 1 complete ones, and neither first nor last of its group"
    said = reasons(plan(cores(5, group=None), Policy(cores_per_host=2), NOW))
    assert said["d2"].startswith("drop core: web01 has 2 newer ones")
    said = reasons(plan(cores(5, group=None), Policy(), NOW, [Need(150, "max_use is 150 over")]))
    assert said["d1"] == "drop core: the oldest that may go, and max_use is 150 over"
    assert said["d2"] == "keep: no rule drops it"


def test_an_old_first_that_broke_off_does_not_cost_the_first_whole_one() -> None:
    dumps = cores(4, every=100 * DAY)
    dumps[0] = replace(dumps[0], complete=False)
    said = reasons(plan(dumps, Policy(core_seconds=90 * DAY), NOW))
    assert said["d0"] == "keep: the first of its group"
    assert said["d1"] == "keep: the first complete one of its group"
    assert said["d2"].startswith("drop core")


def test_a_storm_keeps_the_first_ones_of_each_window() -> None:
    """Two an hour, of one every ten minutes: after the hour two more."""
    policy = Policy(storm_cores=2, storm_seconds=3600.0)
    dumps = cores(9, every=600.0)
    said = reasons(plan(dumps, policy, NOW))
    assert [key for key, why in said.items() if why.startswith("keep")] == ["d0", "d1", "d6", "d7"]
    assert said["d8"] == "drop core: a storm: 2 cores of its group came within 1 hour"
    kept = [dump for dump in dumps if said[dump.directory].startswith("keep")]
    assert in_storm(kept, "a", NOW + 1, policy)
    assert not in_storm(kept, "b", NOW + 1, policy)
    assert not in_storm(kept, None, NOW + 1, policy)
    assert not in_storm(kept, "a", NOW + 7200, policy)


def test_a_host_with_too_many_gives_up_what_says_least() -> None:
    """A dump without core and without a crash before one with; never one with a core."""
    dumps = cores(3)
    assert spare(dumps, "web01") is None
    empty = Dump("e", "e", "web01", None, NOW)
    told = Dump("t", "t", "web01", "a", NOW - DAY, rest_bytes=7)
    found = spare([*dumps, empty, told], "web01")
    assert found is not None
    assert (found.dump, found.act) == (empty, "drop dump")
    assert spare([*dumps, replace(empty, pinned=True)], "web01") is None
    assert spare([empty], "web02") is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (90 * DAY, "90 days"),
        (365 * DAY, "1 year"),
        (DAY, "1 day"),
        (5400.0, "90 minutes"),
        (1.5, "1.5 seconds"),
    ],
)
def test_a_span_is_said_in_its_own_unit(seconds: float, said: str) -> None:
    assert days(seconds) == said
