"""What the pages show, before any template: records made of notes, briefs, reports and the fence's answer."""

from __future__ import annotations

import json
import subprocess
import unicodedata
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.catalogue.brief import Brief
from receiver.hosts.contacts import Contact
from receiver.hosts.enrolled import Host
from receiver.hosts.public_key import parse_untrusted
from receiver.spool.incoming import Incoming
from receiver.spool.space import Space
from receiver.triage.answer import triage_untrusted
from receiver.triage.groups import Occurrence
from receiver.web.views import crashes, enrol, hosts, logs, words
from receiver.web.views.fence import Fence, NotNodes, nodes_untrusted
from receiver.web.views.space import Removed, space_page
from receiver.web.views.uploads import upload, uploads
from receiver.web.views.visible import visible

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
DAY = 86_400.0
STARTED = "2026-09-21T14:12:20Z"  # a minute ago

NOTE = Incoming(
    id="a1",
    dump="d1",
    directory="web01-1",
    requested=("vmcore-incomplete",),
    tool="dd",
    host="web01",
    peer="192.0.2.7",
    started=STARTED,
    kind="flattened",
    wire_bytes=60 << 20,
    bytes=64 << 20,
    done_pages=4500,
    total_pages=10_000,
    fraction=0.4567,
    exact=True,
    seconds=60.0,
    eta_seconds=71.4,
)


def brief(name: str, *, days_ago: float = 0.0, size: int = 1000, host: str = "web01") -> Brief:
    """One dump as lists know it."""
    date = words.moment(NOW - days_ago * DAY, NOW).iso
    return Brief(
        name, name, host, date, "complete", "dd", "6.1", None, size, "ab" * 20, "a crash", "null", None, ""
    )


def test_an_upload_tells_percent_pages_rate_and_what_is_left() -> None:
    """Cut and never rounded up: 100 % is what is stored."""
    seen = upload(NOTE, NOW)
    assert (seen.percent, seen.pages, seen.rate, seen.left) == (
        "45.6 %",
        "4,500 of 10,000 pages",
        "1.0 MiB/s",
        "1 min 11 s left",
    )
    assert upload(replace(NOTE, fraction=0.99999), NOW).percent == "99.9 %"
    assert "about" in upload(replace(NOTE, exact=False), NOW).pages


def test_an_upload_that_is_silent_says_so_and_promises_nothing() -> None:
    """An estimate of a minute ago is no estimate."""
    seen = upload(NOTE, NOW + 35)
    assert (seen.silent, seen.left) == ("no byte for 35 s", "")


def test_an_upload_whose_bytes_do_not_say_how_much_comes_has_no_percentage() -> None:
    """A raw stream says nothing of its end."""
    seen = upload(replace(NOTE, fraction=None, total_pages=None, eta_seconds=None), NOW)
    assert (seen.fraction, seen.percent, seen.pages, seen.left) == (None, "", "", "")


def test_uploads_stay_in_their_place_while_they_move() -> None:
    """The one that began first is on top, whatever order the directories are read in."""
    later = replace(NOTE, id="a2", started="2026-09-21T14:12:50Z")
    assert [one.id for one in uploads([later, NOTE], NOW)] == ["a1", "a2"]


@given(st.text())
def test_nothing_that_a_screen_obeys_gets_through(text: str) -> None:
    """Control characters, directional overrides, zero width, unassigned: all are spelled out."""
    shown = visible(text)
    for char in shown:
        assert char in "\t\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_a_log_of_escapes_and_overrides_is_text() -> None:
    """What a terminal would obey is seen as what it is; ordinary text is untouched."""
    assert visible("\x1b[31mred\x07 \u202egnp.exe\u200b") == "␛[31mred␇ <U+202E>gnp.exe<U+200B>"
    assert visible("Überlauf: ядро 内核 ✓\tx") == "Überlauf: ядро 内核 ✓\tx"
    assert len(visible("a" + "\u0301" * 500)) < 10


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (38, "38 s ago"),
        (65, "1 min ago"),
        (7300, "2 h ago"),
        (3 * DAY, "3 days ago"),
        (-300, "in 5 min"),
    ],
)
def test_times_are_told_as_people_tell_them(seconds: float, said: str) -> None:
    """And exactly, beside it."""
    moment = words.moment(NOW - seconds, NOW)
    assert moment.ago == said
    assert moment.exact.endswith(" UTC")


def test_an_old_time_is_told_by_its_date_and_an_unreadable_one_as_it_is() -> None:
    """Nobody counts 47 days; and a manifest that was edited by hand breaks no page."""
    assert words.moment(NOW - 47 * DAY, NOW).ago == "2026-08-05"
    assert words.moment("yesterday-ish", NOW).ago == "yesterday-ish"


@given(st.integers(0, 10**15))
def test_a_duration_has_two_units_at_most(seconds: int) -> None:
    """And never none."""
    assert 2 <= len(words.duration(seconds).split()) <= 4


def log_with_a_crash(before: int = 1000, after: int = 40) -> bytes:
    quiet = b"".join(b"[%12.6f] systemd[1]: Started thing %d.\n" % (n, n) for n in range(before))
    crash = (Path(__file__).parents[2] / "data" / "oopses" / "null.txt").read_bytes()
    return quiet + crash + b"[ 9999.000000] the end\n" * after


def test_a_log_opens_where_the_crash_is() -> None:
    """The headline is marked and a few lines stand above it."""
    data = log_with_a_crash()
    report = triage_untrusted(data)
    seen = logs.window(data, report)
    (headline,) = [line for line in seen.lines if line.mark == "headline"]
    assert headline.number == report.lines[0].number == seen.crash
    assert seen.first < headline.number <= seen.first + logs.ABOVE
    assert "NULL pointer" in headline.pieces[0].text
    assert {line.mark for line in seen.lines} >= {"telling", "crash", "headline", ""}


def test_a_search_steps_through_its_hits_and_round_the_end() -> None:
    """Case aside; the first hit shown is the one at the crash."""
    data = log_with_a_crash(before=500)
    seen = logs.window(data, triage_untrusted(data), query="STARTED THING", hit=500)
    assert (seen.hits, seen.hit, seen.hit_line, seen.next, seen.previous) == (500, 500, 500, 1, 499)
    current = next(line for line in seen.lines if line.current)
    assert [piece.text for piece in current.pieces if piece.hit] == ["Started thing"]
    assert logs.window(data, query="no such words").hits == 0


@given(st.binary(max_size=2000), st.text(max_size=5), st.integers(0, 50), st.none() | st.integers(-5, 99))
def test_any_bytes_have_a_window(data: bytes, query: str, hit: int, at: int | None) -> None:
    """Lines are numbered without a gap, links lead to lines that are there, and the text is the log's."""
    seen = logs.window(data, triage_untrusted(data), query=query, hit=hit, at=at, size=7)
    assert (
        [line.number for line in seen.lines] == list(range(seen.first, seen.last + 1)) if seen.lines else True
    )
    assert len(seen.lines) <= 7
    for link in (seen.earlier, seen.later):
        assert link is None or 1 <= link <= seen.total
    if seen.later is not None:
        assert seen.later == seen.last + 1


@given(st.binary(max_size=3000), st.integers(1, 40))
def test_the_windows_of_a_log_are_the_log(data: bytes, size: int) -> None:
    """Who follows 'later lines' from the first line sees every line once."""
    at: int | None = 1
    numbers: list[int] = []
    while at is not None:
        seen = logs.window(data, at=at, size=size)
        numbers += [line.number for line in seen.lines]
        at = seen.later
    assert numbers == list(range(1, seen.total + 1))


def test_a_log_of_half_a_million_lines_is_searched_and_cut() -> None:
    """Bounded: a window has LINES lines, hits are counted up to HITS_MAX."""
    seen = logs.window(b"x\n" * 500_000, query="x")
    assert (len(seen.lines), seen.hits, seen.more_hits) == (logs.LINES, logs.HITS_MAX, True)


def crash(host: str, days_ago: float, signature: str = "aa" * 20) -> Occurrence:
    return Occurrence(
        f"{host}{days_ago}", host, NOW - days_ago * DAY, signature, f"crash {signature[:2]}", "null"
    )


def test_groups_with_recent_crashes_come_first_and_days_are_counted() -> None:
    """What is going on now matters more than what was frequent a year ago."""
    old = [crash(f"h{n}", 300 + n, "bb" * 20) for n in range(9)]
    rows = crashes.group_rows([*old, crash("web01", 0), crash("web02", 1.0)], NOW)
    assert [row.signature[:2] for row in rows] == ["aa", "bb"]
    assert (rows[0].days[-2:], sum(rows[1].days)) == ((1, 1), 0)


def test_a_crash_of_a_clock_that_is_ahead_is_shown_today() -> None:
    """RTCs are wrong; the crash happened."""
    (row,) = crashes.group_rows([crash("web01", -3)], NOW)
    assert row.days[-1] == 1


def test_the_timeline_stacks_five_groups_and_the_others() -> None:
    """Every crash of the 30 days is in one series, and in one only."""
    occurrences = [crash("web01", n % 28, f"{n % 8:02x}" * 20) for n in range(80)]
    timeline = crashes.timeline(crashes.group_rows(occurrences, NOW), NOW)
    assert [bool(one.signature) for one in timeline.series] == [True] * 5 + [False]
    assert sum(timeline.totals) == 80
    assert timeline.days[-1] == "2026-09-21"


def test_space_over_time_counts_what_came_and_what_was_pruned() -> None:
    """A dump that was removed is on the curve until the day it went."""
    room = space_page(
        Space(total=10_000, used=5_000, available=4_000),
        1_000,
        [brief("a", days_ago=10, size=1000), brief("b", days_ago=2, size=500)],
        [Removed(NOW - 8 * DAY, NOW - 3 * DAY, 300)],
        NOW,
    )
    levels = [level for _, level in room.history]
    assert (levels[-11], levels[-9], levels[-4], levels[-3], levels[-1]) == (1000, 1300, 1000, 1500, 1500)
    assert (room.dumps, room.others, room.count) == (1500, 3500, 2)
    assert "days at last week's pace" in room.sentence


ENROLLED = Host("web01", ())


def known(*, trials: list[hosts.Trial] | None = None, seen_days_ago: float | None = 1.0) -> hosts.Known:
    contacts = {}
    if seen_days_ago is not None:
        at = words.moment(NOW - seen_days_ago * DAY, NOW).iso
        contacts["web01"] = Contact("web01", "192.0.2.7", at, "key")
    return hosts.Known([ENROLLED], {}, contacts, trials or [], [])


def trial(days_ago: float, success: bool) -> hosts.Trial:
    return hosts.Trial("web01", "t", words.moment(NOW - days_ago * DAY, NOW).iso, success)


@pytest.mark.parametrize(
    ("facts", "concern"),
    [
        (known(trials=[trial(1, True)]), ""),
        (known(trials=[trial(1, False), trial(5, True)]), "test failed"),
        (known(), "never tested"),
        (known(seen_days_ago=None), "never seen"),
        (known(trials=[trial(50, True)], seen_days_ago=45), "quiet"),
    ],
)
def test_a_host_shows_the_one_thing_to_look_at(facts: hosts.Known, concern: str) -> None:
    """The last test counts, not the last good one; a month of silence is worth a look."""
    (row,) = hosts.rows(facts, NOW)
    assert row.concern == concern


def test_the_last_good_test_is_kept_apart_from_the_last_test() -> None:
    """That is what tells since when it is broken."""
    (row,) = hosts.rows(known(trials=[trial(1, False), trial(5, True)]), NOW)
    assert (row.trial_succeeded, row.last_success and row.last_success.ago) == (False, "5 days ago")


NODES = json.dumps(
    {
        "nodes": [
            {
                "name": "web01",
                "addresses": ["192.0.2.7"],
                "state": "dumping",
                "since": STARTED,
                "off": True,
                "grade": "ssh",
                "reason": "bytes 2 s ago",
                "progress": {"done_bytes": 1, "total_bytes": 4},
            },
            {"name": "n2", "addresses": ["192.0.2.9"], "state": "quiet"},
        ]
    }
).encode()


def test_a_node_is_found_by_name_or_by_the_address_the_host_came_from() -> None:
    """Clusters name their nodes as they like."""
    fence = Fence(nodes_untrusted(NODES))
    first = fence.of("web01")
    assert first is not None
    assert (first.state, first.off, first.grade, first.progress) == ("dumping", True, "ssh", 0.25)
    assert fence.of("db9", ["192.0.2.9"]) == fence.nodes[1]
    assert fence.of("db9", ["192.0.2.1"]) is None


WORDS = st.sampled_from(["nodes", "name", "state", "addresses", "progress"])
DOCUMENTS = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=300) | DOCUMENTS)
def test_whatever_answers_in_the_fences_place_raises_one_error(data: bytes) -> None:
    """The decoder's promise."""
    with suppress(NotNodes):
        nodes_untrusted(data)


KEY = parse_untrusted(
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3qVQAqI4P0D3cPBnHbbQpWg2c4nYIo4O3n5s8HnXcR collector"
)


@pytest.mark.parametrize("port", [22, 2222])
def test_every_enrolment_line_is_a_line_of_shell(port: int) -> None:
    """For dash as for bash: people paste it into whatever they have."""
    collector = enrol.Collector("collector.example", port, (KEY,))
    for recipe in enrol.recipes(collector):
        for step in recipe.steps:
            assert "\n" not in step.code
            for shell in ("dash", "bash"):
                subprocess.run([shell, "-n", "-c", step.code], check=True, timeout=10)


def test_the_configuration_lines_replace_what_was_said_before(tmp_path: Path) -> None:
    """And leave the rest of the file alone; done twice, the file says it once."""
    (recipe,) = [each for each in enrol.recipes(enrol.Collector("c.example", 22, ())) if each.id == "debian"]
    (step,) = [step for step in recipe.steps if "kdump-tools" in step.what]
    path = tmp_path / "kdump-tools"
    path.write_text('USE_KDUMP=1\nSSH="root@old"\n#SSH_KEY=x\n')
    for _ in range(2):
        line = step.code.replace("/etc/default/kdump-tools", str(path))
        subprocess.run(["sh", "-c", line], check=True, timeout=10)
    said = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert said == ["USE_KDUMP=1", 'SSH="kdump@c.example"', "SSH_KEY=/root/.ssh/kdump_id_rsa"]


@pytest.mark.parametrize("name", ["collector.example", "10.0.0.1", "2001:db8::1", "c"])
def test_servers_have_names_and_addresses(name: str) -> None:
    """What people call a server."""
    assert enrol.is_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a;reboot", "$(x)", "-oProxyCommand=x", "a\nb", "'", "a" * 300])
def test_what_is_no_servers_name_never_gets_into_a_line_of_shell(name: str) -> None:
    """It comes from a form."""
    assert not enrol.is_name(name)
