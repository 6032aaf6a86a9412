"""Counters out of the journal: exact whatever the cut, bounded whatever clients say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.catalogue.journal import Entry
from receiver.web.tally import LABELS_MAX, Tally, from_json

NAMES = st.sampled_from(
    [
        "upload.finished",
        "upload.started",
        "upload.refused",
        "login.refused",
        "dump.reported",
        "dump.pruned",
        "odd",
    ]
)
VALUES = st.one_of(st.text(max_size=20), st.integers(-5, 10**12), st.booleans(), st.none())
FIELDS = st.dictionaries(
    st.sampled_from(
        ["verdict", "core", "bytes", "wire_bytes", "seconds", "reason", "how", "crash_class", "what"]
    ),
    VALUES,
)


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """Entries in the order of their ids, of whatever content."""
    rows = draw(st.lists(st.tuples(NAMES, FIELDS), max_size=30))
    return [
        Entry(number, "2026-11-23T00:00:00.000Z", name, "web01", "d1", fields)
        for number, (name, fields) in enumerate(rows, 1)
    ]


def client_of(_dump: str) -> str:
    return "kdump-utils"


@given(journals(), st.lists(st.integers(0, 30), max_size=5))
def test_any_cut_and_any_restart_count_the_same(journal: list[Entry], cuts: list[int]) -> None:
    """A batch more or less, a process that is killed and reads some of it again: nothing is counted twice."""
    whole = Tally()
    whole.fold(journal, client_of)
    parts = Tally()
    for cut in sorted(cuts):
        parts.fold(journal[:cut], client_of)
        parts = from_json(parts.as_json())
    parts.fold(journal, client_of)
    assert parts == whole


def test_labels_are_bounded() -> None:
    """A rule set or a client with thousands of words makes no thousands of series."""
    tally = Tally()
    classes = [Entry(n, "", "dump.reported", "h", "d", {"crash_class": f"class{n}"}) for n in range(1, 5000)]
    tally.fold(classes, client_of)
    assert len(tally.counts["reports"]) == LABELS_MAX + 1
    assert sum(tally.counts["reports"].values()) == 4999


def test_a_refusal_is_counted_by_the_limit_that_it_met() -> None:
    """The words of admission."""
    tally = Tally()
    said = (
        "the quota of web01 (1000 bytes) leaves 5",
        "max_use (1000 bytes) is exceeded by 7",
        "keep_free (1000 bytes) leaves 0",
        "<script>",
    )
    tally.fold(
        [Entry(n, "", "upload.refused", "h", None, {"reason": text}) for n, text in enumerate(said, 1)],
        client_of,
    )
    assert set(tally.counts["refused"]) == {
        '["upload", "quota"]', '["upload", "max_use"]', '["upload", "keep_free"]', '["upload", "other"]'
    }  # fmt: skip
