"""Groups tell how often, where, since when; repetition tells machine, model and kernel apart."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.triage.groups import AGAIN, DAY, PERIODS, Occurrence, groups, repetitions

NOW = 100 * 7 * DAY


def crash(
    signature: str, host: str, weeks_ago: float = 0.5, model: str | None = "A", kernel: str = "6.1"
) -> Occurrence:
    return Occurrence(
        f"{host}@{weeks_ago}",
        host,
        NOW - weeks_ago * 7 * DAY,
        signature,
        f"title {signature}",
        "null",
        kernel,
        model,
    )


def test_a_group_counts_hosts_kernels_and_times() -> None:
    """The most frequent first, in all lists."""
    first, second = groups(
        [crash("x", "h1", 3, kernel="5.10"), crash("x", "h2", 1), crash("x", "h2", 0.5), crash("y", "h1", 2)],
        NOW,
    )
    assert (first.signature, first.count, first.hosts, first.kernels) == (
        "x",
        3,
        ("h2", "h1"),
        ("6.1", "5.10"),
    )
    assert (first.first_seen, first.last_seen) == (NOW - 3 * 7 * DAY, NOW - 0.5 * 7 * DAY)
    assert first.dumps == ("h1@3", "h2@1", "h2@0.5")
    assert (second.signature, second.spread) == ("y", "once")


def test_the_trend_counts_periods_and_names_their_course() -> None:
    """New, rising, steady, falling, quiet."""

    def course(*weeks_ago: float) -> str:
        (group,) = groups([crash("x", f"h{n}", weeks) for n, weeks in enumerate(weeks_ago)], NOW)
        return group.course

    assert groups([crash("x", "h", 0.5), crash("x", "h", 2.5)], NOW)[0].trend == (0, 0, 0, 0, 0, 1, 0, 1)
    assert course(0.1, 0.5) == "new"
    assert course(0.5, 0.6, 0.7, 2.5) == "rising"
    assert course(0.5, 1.5, 2.5, 3.5) == "steady"
    assert course(0.5, 2.5, 2.6, 3.5) == "falling"
    assert course(2.5, 3.5) == "quiet"


def test_one_host_again_and_again_is_the_machine() -> None:
    """Whatever it crashes of."""
    crashes = [crash(reason, "bad") for reason in "abc"] + [crash("a", "good")]
    host = next(one for one in repetitions(crashes, NOW) if one.view == "host")
    assert (host.name, host.count, host.signatures) == ("bad", 3, ("a", "b", "c"))
    assert len([crash for crash in crashes if crash.host == "bad"]) == AGAIN


def test_one_model_only_is_the_model() -> None:
    """Where other models crash, too, but not of this."""
    crashes = [crash("x", "h1", model="A"), crash("x", "h2", model="A"), crash("y", "h3", model="B")]
    assert groups(crashes, NOW)[0].spread == "model"
    (model,) = repetitions(crashes, NOW)
    assert (model.view, model.name, model.hosts) == ("model", "A", ("h1", "h2"))


def test_one_reason_on_many_is_the_kernel() -> None:
    """On more than one model, or where there is only one at all."""
    assert groups([crash("x", "h1", model="A"), crash("x", "h2", model="B")], NOW)[0].spread == "reason"
    (reason,) = repetitions([crash("x", "h1"), crash("x", "h2")], NOW)
    assert (reason.view, reason.name, reason.count) == ("reason", "title x", 2)
    assert groups([crash("x", "h1"), crash("x", "h1")], NOW)[0].spread == "host"


OCCURRENCES = st.lists(
    st.builds(
        crash,
        st.sampled_from("xyz"),
        st.sampled_from(["h1", "h2", "h3"]),
        st.floats(-1, 20),
        st.sampled_from(["A", "B", None]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(OCCURRENCES)
def test_every_crash_is_in_one_group(occurrences: list[Occurrence]) -> None:
    """Nothing is lost or counted twice, in whatever order it comes; a clock that is ahead does no harm."""
    found = groups(occurrences, NOW)
    assert sum(group.count for group in found) == len(occurrences)
    assert len({group.signature for group in found}) == len(found)
    assert all(len(group.trend) == PERIODS and sum(group.trend) <= group.count for group in found)
    assert [group.count for group in groups(reversed(occurrences), NOW)] == [group.count for group in found]
    repetitions(occurrences, NOW)
