"""What a fence is told while an upload runs: only bytes that came are evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.catalogue.journal import Entry
from receiver.events import Event, UploadFailed, UploadFinished, name_of, to_fields
from receiver.notify.evidence import FRESH_SECONDS, Beats, Seen, ended
from receiver.spool.incoming import Incoming
from receiver.targets import Fence

NOTE = Incoming(
    id="u1",
    dump="d1",
    directory="web01-2026",
    requested=("vmcore-incomplete",),
    tool="dd",
    host="web01",
    peer="192.0.2.7",
    started="2026-11-23T10:00:00Z",
    wire_bytes=1000,
    bytes=4000,
)


def fence(**keys: Any) -> Fence:
    return Fence(kind="fence", name="f", url="https://fence.example.org", **keys)


def beats(**keys: Any) -> Beats:
    return Beats(fence(**keys), "collector1")


def entry(event: Event) -> Entry:
    fields = to_fields(event)
    return Entry(
        1, "2026-11-23T10:00:00.000Z", name_of(event), fields.get("host"), fields.get("dump"), fields
    )


def test_an_upload_is_started_once_and_then_goes_on() -> None:
    """Under the cluster's own name for the host; the total where the bitmap tells it."""
    told = beats(nodes={"web01": "node-a"})
    assert told.posts([Seen(NOTE, 99.5)], 100.0) == [
        {
            "node": "node-a",
            "phase": "started",
            "age_seconds": 0.5,
            "upload": "web01-2026",
            "done_bytes": 4000,
            "by": "collector1",
        }
    ]
    (post,) = told.posts([Seen(replace(NOTE, wire_bytes=2000, bytes=8000, fraction=0.5), 103.0)], 103.0)
    assert (post["phase"], post["done_bytes"], post["total_bytes"]) == ("progress", 8000, 16_000)


def test_an_upload_that_stalls_is_no_evidence() -> None:
    """A host that does not send may have been reset: the last beat must not be told again."""
    told = beats()
    assert len(told.posts([Seen(NOTE, 100.0)], 100.0)) == 1
    assert told.posts([Seen(NOTE, 103.0)], 103.0) == []
    assert told.posts([Seen(replace(NOTE, wire_bytes=1001), 106.0)], 106.0) != []


def test_what_is_old_empty_of_no_core_or_of_another_host_is_no_evidence() -> None:
    """A note left by a killed server; a connection without a byte; a README; a host of another cluster."""
    for seen in (
        Seen(NOTE, 100.0 - FRESH_SECONDS - 0.1),
        Seen(replace(NOTE, wire_bytes=0), 100.0),
        Seen(replace(NOTE, requested=("README.txt",), kind="text"), 100.0),
        Seen(replace(NOTE, requested=("vmcore-dmesg-incomplete.txt",), kind="text"), 100.0),
        Seen(replace(NOTE, host="db1"), 100.0),
    ):
        assert beats(hosts=("web*",)).posts([seen], 100.0) == []


@given(
    st.lists(
        st.tuples(st.integers(min_value=0, max_value=5), st.floats(min_value=0, max_value=30)), max_size=40
    )
)
def test_evidence_is_never_younger_than_its_bytes(steps: list[tuple[int, float]]) -> None:
    """Whatever the pace of upload and beats: each post stands for bytes that came since the last one."""
    told, now, written, size, posted = beats(), 0.0, 0.0, 0, 0
    for grown, pause in steps:
        now += pause
        if grown:
            size, written = size + grown, now
        for post in told.posts([Seen(replace(NOTE, wire_bytes=size), written)], now):
            assert size > posted
            assert post["age_seconds"] >= round(now - written, 3)
            assert post["age_seconds"] <= FRESH_SECONDS + 0.001
            posted = size


def test_the_end_of_an_upload_is_as_old_as_it_is() -> None:
    """Whole is finished; cut or not stored is failed, which is no evidence."""
    whole = UploadFinished("web01", "p", "d", "web01-2026", "vmcore", 5, 5, 1.0, "elf", "complete", "")
    post = ended(fence(), entry(whole), "c", 100.0, 130.5)
    assert post is not None
    assert (post["phase"], post["age_seconds"], post["done_bytes"]) == ("finished", 30.5, 5)
    for verdict in ("truncated", "damaged", "unknown"):
        cut = ended(fence(), entry(replace(whole, verdict=verdict)), "c", 100.0, 101.0)
        assert cut is not None
        assert cut["phase"] == "failed"
    lost = ended(fence(), entry(UploadFailed("web01", "p", "/c/d/vmcore", "disk full")), "c", 100.0, 101.0)
    assert lost is not None
    assert lost["phase"] == "failed"
    assert ended(fence(), entry(UploadFailed("web01", "p", "/c/d/README.txt", "x")), "c", 1.0, 2.0) is None
