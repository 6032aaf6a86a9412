"""fence.table: whose message a datagram is, what it proves, and who is only counted."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.events import Alarm, Event, Grade, State
from fence.listed import ASKED, Listed
from fence.message import BIG, LITTLE, Message, Phase, encode, key_id
from fence.node import Beat, Node, Rules
from fence.table import ADOPTED_MAX, Datagram, Table

KEY, NEW_KEY, OTHER_KEY = b"k" * 32, b"n" * 32, b"o" * 32
A, B = b"A" * 16, b"B" * 16
WALL = 1_700_000_000.0
N1 = Listed(name="n1", id="rack7-u12", addresses=("192.0.2.10", "2001:db8::10"), keys=(KEY,))
N2 = Listed(name="n2", addresses=("192.0.2.20",), keys=(OTHER_KEY,))


def nothing(node: Node, now: float) -> None:
    """Nothing is remembered."""


def table(*listed: Listed) -> Table:
    made = Table(nothing, unknown_max=4)
    made.configure(listed or (N1, N2), 0)
    return made


def beat(
    node: str = "n1", sequence: int = 1000, session: bytes = A, time: float = WALL, **more: Any
) -> Message:
    return Message(node=node, session=session, sequence=sequence, time=int(time * 1000), **more)


def hear(
    made: Table, data: bytes = LITTLE, address: str = "192.0.2.10", now: float = 10.0, **more: Any
) -> tuple[Node | None, list[Event]]:
    heard = made.heard(Datagram(data, address, **more), now, WALL)
    return heard.node, heard.events


def alarms(events: list[Event]) -> list[str]:
    return [event.alarm for event in events if isinstance(event, Alarm)]


def grade(made: Table, name: str, now: float = 10.0) -> Grade:
    return made.members[name].node.best(now)


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
@pytest.mark.parametrize("data", [LITTLE, BIG, LITTLE + b"whatever"], ids=["little", "big", "longer"])
def test_a_plain_beat_is_the_nodes_of_its_address(data: bytes, address: str) -> None:
    """The C sender on any machine, from any of the node's addresses."""
    made = table()
    node, events = hear(made, data, address)
    assert node is made.find("n1")
    assert [event.kind for event in events] == ["node.dumping"]
    assert made.counts == {"unsigned": 1}


def test_junk_is_counted_and_nothing_else() -> None:
    """Where the kernel has no filter."""
    made = table()
    assert hear(made, b"junk", count=7) == (None, [])
    assert made.counts == {"junk": 7}


def test_a_flaw_is_counted_and_the_beat_stands() -> None:
    """What breaks the layout is shown by its name."""
    made = table()
    node, _ = hear(made, LITTLE + b"KDN\x01\x01", count=2)
    assert node is not None
    assert made.flaws == {"a field without a length": 2}


def test_many_at_once_are_many_beats() -> None:
    """The reader counts equal ones together."""
    made = table()
    hear(made, count=5)
    assert made.members["n1"].node.crash.beats == 5


def test_a_datagram_that_lay_in_the_socket_is_as_old_as_it_is() -> None:
    """A daemon that was stopped for a minute."""
    made = table()
    hear(made, now=100, age=60.0)
    assert grade(made, "n1", 100) is Grade.NONE


def test_a_signature_proves_the_node_from_wherever_it_comes() -> None:
    """SNAT, DHCP in the capture kernel, a bonded link: the key is the identity."""
    made = table()
    node, _ = hear(made, encode(beat(), KEY), "203.0.113.99")
    assert node is made.find("n1")
    assert grade(made, "n1") is Grade.SIGNED
    assert made.members["n1"].node.signed_with == key_id(KEY).hex()


def test_the_id_is_as_good_as_the_name_and_case_does_not_matter() -> None:
    """What the sender was told to call itself."""
    made = table()
    hear(made, encode(beat("RACK7-U12"), KEY), "203.0.113.99")
    assert grade(made, "n1") is Grade.SIGNED


@pytest.mark.parametrize(
    ("key", "kind", "reason"),
    [
        (OTHER_KEY, "key", "signed with a key we do not have: "),
        (None, "signature", "the signature by "),
    ],
)
def test_a_bad_signature_is_an_alarm_and_no_better_than_none(
    key: bytes | None, kind: str, reason: str
) -> None:
    """Nor worse: who adds a wrong signature to a real beat must not silence it."""
    made = table()
    data = encode(beat(), key or KEY)
    if key is None:
        data = data[:-1] + bytes([data[-1] ^ 1])
    node, events = hear(made, data)
    assert node is made.find("n1")
    assert grade(made, "n1") is Grade.UDP
    assert alarms(events) == [kind]
    assert isinstance(events[0], Alarm)
    assert events[0].reason.startswith(reason)
    assert hear(made, data, "203.0.113.99")[0] is None


def test_both_keys_hold_while_they_are_rotated() -> None:
    """And the node's page shows by which it signs."""
    made = table(Listed(name="n1", addresses=("192.0.2.10",), keys=(KEY, NEW_KEY)))
    seen = []
    for sequence, key in ((1000, KEY), (2000, NEW_KEY)):
        hear(made, encode(beat(sequence=sequence), key), now=10 + sequence / 1000)
        seen.append(made.members["n1"].node.signed_with)
    assert len(set(seen)) == 2
    assert not made.alarms


def test_without_a_key_for_the_node_a_signature_means_nothing() -> None:
    """A sender that signs already, a daemon that is not told yet."""
    made = table(Listed(name="n1", addresses=("192.0.2.10",)))
    node, events = hear(made, encode(beat(), KEY))
    assert node is not None
    assert grade(made, "n1") is Grade.UDP
    assert alarms(events) == []


def test_a_copy_is_nothing_and_a_replay_is_refused_with_an_alarm() -> None:
    """Neither is evidence, signed or not: an honest sender does not do it."""
    made = table()
    first, second = encode(beat(sequence=1000), KEY), encode(beat(sequence=9000), KEY)
    hear(made, first, now=10)
    hear(made, second, now=18)
    assert hear(made, second, "2001:db8::10", now=18) == (None, [])
    node, events = hear(made, first, now=40)
    assert (node, alarms(events)) == (None, ["backwards"])
    assert grade(made, "n1", 44) is Grade.NONE
    assert made.counts == {"signed": 2, "copy": 1, "refused": 1}


def test_a_session_with_a_doubtful_clock_counts_as_unsigned() -> None:
    """From the node's address it is as good as any; from elsewhere it is a stranger's."""
    made = table()
    data = encode(beat(time=WALL - 40 * 3600), KEY)
    node, events = hear(made, data)
    assert node is not None
    assert grade(made, "n1") is Grade.UDP
    assert alarms(events) == ["clock"]
    assert hear(made, data, "203.0.113.99")[0] is None


def test_a_late_signed_beat_is_as_old_as_its_sending() -> None:
    """Ten seconds on its way are ten seconds of its window."""
    made = table()
    hear(made, encode(beat(sequence=1000), KEY), now=10)
    hear(made, encode(beat(sequence=11_000), KEY), now=30)
    assert grade(made, "n1", 45) is Grade.SIGNED
    assert grade(made, "n1", 46) is Grade.NONE


def test_an_unsigned_claim_never_selects_a_node() -> None:
    """Anybody can write a name into a datagram."""
    made = table()
    assert hear(made, encode(beat("n1")), "203.0.113.99") == (None, [])
    assert made.unknown["203.0.113.99"].claims == "n1"
    node, events = hear(made, encode(beat("n1")), "192.0.2.20")
    assert (node, alarms(events)) == (None, ["claim"])
    assert grade(made, "n1") is grade(made, "n2") is Grade.NONE


@pytest.mark.parametrize("name", ["n1.example.com", "kdump", "n1", "rack7-u12"])
def test_a_name_that_contradicts_nobody_is_no_claim(name: str) -> None:
    """A sender calls itself by its long name: the beat must not be lost for that."""
    made = table()
    assert hear(made, encode(beat(name)))[0] is made.find("n1")


def test_hints_make_checked_or_an_alarm() -> None:
    """A blind spoofer fails the TTL or comes in at the wrong side."""
    made = table(Listed(name="n1", addresses=("192.0.2.10",), interfaces=("eth1", "bond0"), ttl_min=64))
    hear(made, interface="eth1", ttl=64)
    assert grade(made, "n1") is Grade.UDP_CHECKED
    made = table(Listed(name="n1", addresses=("192.0.2.10",), interfaces=("eth1",), ttl_min=64))
    _, events = hear(made, interface="eth0", ttl=63)
    assert grade(made, "n1") is Grade.UDP
    assert [(event.alarm, event.reason) for event in events if isinstance(event, Alarm)] == [
        ("interface", "came in by eth0, not by eth1"),
        ("ttl", "TTL 63, less than 64"),
    ]


def test_hints_the_kernel_did_not_give_do_not_fit() -> None:
    """What was not seen is not checked."""
    made = table(Listed(name="n1", addresses=("192.0.2.10",), ttl_min=64))
    _, events = hear(made)
    assert alarms(events) == ["ttl"]


def test_one_address_of_two_nodes_needs_a_signature() -> None:
    """Behind SNAT."""
    made = table(
        Listed(name="n1", addresses=("192.0.2.1",), keys=(KEY,)), Listed(name="n2", addresses=("192.0.2.1",))
    )
    assert hear(made, address="192.0.2.1")[0] is None
    assert hear(made, encode(beat("n1"), KEY), "192.0.2.1")[0] is made.find("n1")


def test_a_network_is_a_nodes_if_it_is_no_other_nodes() -> None:
    """DHCP in the capture kernel."""
    made = table(Listed(name="n1", networks=(ip_network("192.0.2.0/24"),)))
    assert hear(made, address="192.0.2.77")[0] is made.find("n1")
    made = table(
        *(Listed(name=name, networks=(ip_network("192.0.2.0/24"),), keys=(KEY,)) for name in ("n1", "n2"))
    )
    assert hear(made, encode(beat("n1")), "192.0.2.77")[0] is None
    assert hear(made, encode(beat("n1"), KEY), "192.0.2.77")[0] is made.find("n1")


def test_a_drill_is_noted_and_is_no_evidence() -> None:
    """Signed or not; and a drill from elsewhere is not even a stranger's message."""
    made = table()
    node, events = hear(made, encode(Message(drill=True)))
    assert node is None
    assert [event.kind for event in events] == ["node.drill"]
    for _ in range(2):
        assert hear(made, encode(beat(drill=True), KEY), now=100)[0] is None
    assert made.members["n1"].node.drill_grade is Grade.SIGNED
    assert made.members["n1"].node.sessions.current is None
    assert hear(made, encode(Message(drill=True)), "203.0.113.99") == (None, [])
    assert not made.unknown
    assert made.members["n1"].node.state is State.QUIET


def test_strangers_are_counted_in_a_table_that_does_not_grow() -> None:
    """Never trusted, but visible; a flood of addresses pushes out the oldest."""
    made = table()
    for number in range(6):
        hear(made, address=f"203.0.113.{number}", now=number)
    hear(made, address="203.0.113.2", now=9, count=3)
    assert list(made.unknown) == ["203.0.113.3", "203.0.113.4", "203.0.113.5", "203.0.113.2"]
    assert (made.unknown["203.0.113.2"].messages, made.unknown["203.0.113.2"].at) == (4, 9)
    assert made.forgotten == 2
    assert made.counts["unknown"] == 9


def test_a_node_that_gets_an_address_later_has_what_was_sent_from_it() -> None:
    """The name did not resolve yet when the node crashed: its message is not lost."""
    made = table(Listed(name="n1", names=("n1.example.com",)))
    hear(made, now=10)
    heard = made.resolved("n1", ["192.0.2.10"], 15)
    assert heard.node is made.find("192.0.2.10")
    assert [event.kind for event in heard.events] == ["node.dumping"]
    assert made.members["n1"].node.seen == {Grade.UDP: 10}
    assert not made.unknown


def test_resolving_again_replaces_what_names_gave_and_keeps_what_was_literal() -> None:
    """A node moves; its fixed address stays."""
    made = table(Listed(name="n1", addresses=("192.0.2.10",), names=("n1.example.com",)))
    made.resolved("n1", ["192.0.2.11"], 0)
    made.resolved("n1", ["192.0.2.12", "192.0.2.10"], 0)
    assert made.addresses("n1") == ("192.0.2.10", "192.0.2.12")
    assert hear(made, address="192.0.2.11")[0] is None


def test_nodes_are_found_by_name_id_and_address() -> None:
    """However the cluster calls them."""
    made = table()
    for called in ("n1", "N1", "rack7-u12", "192.0.2.10", "2001:DB8::10", "::ffff:192.0.2.10"):
        assert made.find(called) is made.members["n1"].node
    assert made.find("n3") is None
    assert made.find("192.0.2.99") is None


def test_a_reload_keeps_the_state_of_those_who_stay() -> None:
    """SIGHUP in the middle of a crash."""
    made = table()
    hear(made)
    changed = Listed(name="n1", addresses=("192.0.2.11",), rules=Rules(window=5))
    changes = made.configure([changed, Listed(name="n3", addresses=("192.0.2.30",))], 12)
    assert (changes.added, changes.removed, changes.changed) == (("n3",), ("n2",), ("n1",))
    assert made.members["n1"].node.state is State.DUMPING
    assert grade(made, "n1", 16) is Grade.NONE  # by the new window
    assert hear(made, address="192.0.2.10")[0] is None
    assert hear(made, address="192.0.2.11")[0] is made.find("n1")
    assert made.find("rack7-u12") is None
    assert made.find("n2") is None
    same = made.configure([changed, Listed(name="n3", addresses=("192.0.2.30",))], 13)
    assert (same.added, same.removed, same.changed) == ((), (), ())


def test_a_reload_keeps_the_resolved_addresses_until_they_are_looked_up_again() -> None:
    """A crash right after SIGHUP is heard."""
    made = table(Listed(name="n1", names=("n1.example.com",)))
    made.resolved("n1", ["192.0.2.10"], 0)
    made.configure([Listed(name="n1", names=("n1.example.com",), keys=(KEY,))], 1)
    assert made.addresses("n1") == ("192.0.2.10",)


def test_a_node_only_asked_for_has_what_its_address_just_sent() -> None:
    """The C agent's way, without its loss: the message came before the question."""
    made = table(N1)
    hear(made, address="203.0.113.5", now=10)
    heard = made.adopt(Listed(name="n9", source=ASKED), ["203.0.113.5"], 12)
    assert heard.node is made.find("n9")
    assert grade(made, "n9", 12) is Grade.UDP
    assert made.configure([N1], 13).removed == ()
    assert made.configure([N1, Listed(name="n9", addresses=("203.0.113.5",))], 14).changed == ("n9",)
    assert made.members["n9"].listed.source == "config"
    assert made.configure([N1], 15).removed == ("n9",)
    assert made.addresses("n9") == ()


def test_a_node_only_asked_for_never_takes_an_address_from_a_configured_one() -> None:
    """Or a question could make a real node ambiguous."""
    made = table(N1)
    made.adopt(Listed(name="n9", source=ASKED), ["192.0.2.10"], 0)
    assert hear(made)[0] is made.find("n1")


def test_there_is_an_end_to_nodes_only_asked_for() -> None:
    """Somebody asks for all the names there are."""
    made = table(N1)
    for number in range(ADOPTED_MAX):
        made.adopt(Listed(name=f"a{number}", source=ASKED), [], 0)
    assert made.adopt(Listed(name="more", source=ASKED), [], 0).node is None
    assert made.find("more") is None


def test_a_node_that_was_taken_out_and_put_in_again_is_the_new_one() -> None:
    """Who waits for it since before hears of it still."""
    made = table()
    before = made.members["n1"].node
    made.configure([N2], 1)
    assert made.now(before) is before
    made.configure([N1, N2], 2)
    assert made.now(before) is made.members["n1"].node
    assert made.now(before) is not before


def test_time_makes_silence_and_forgets() -> None:
    """Whoever calls `tick` often enough sees each change once, and a new beat moves the deadline."""
    made = table()
    hear(made, now=10)
    hear(made, now=30)
    assert made.tick(45) == []
    assert [event.kind for event in made.tick(60)] == ["node.silent"]
    assert [event.kind for event in made.tick(3630)] == ["node.quiet"]
    assert made.tick(99_999) == []


def test_a_node_that_is_gone_has_no_deadline() -> None:
    """Removed by a reload while it was dumping."""
    made = table()
    hear(made, now=10)
    made.configure([N2], 11)
    assert made.tick(60) == []


def test_what_the_receiver_tells_counts_too() -> None:
    """The shell calls the node and passes on what came of it."""
    made = table()
    node = made.members["n1"].node
    assert [event.kind for event in made.touched(node, node.heard(Beat(heard_from="x"), 5, 5), 5)] == [
        "node.dumping"
    ]
    assert [event.kind for event in made.tick(40)] == ["node.silent"]


def test_alarms_are_counted_even_when_they_are_not_told() -> None:
    """One event a minute, but every one in the numbers."""
    made = table()
    told = [hear(made, encode(beat(), OTHER_KEY), now=10)[1] for _ in range(5)]
    assert sum(len(alarms(events)) for events in told) == 1
    assert made.members["n1"].alarms == made.alarms["key"] == 5


@given(
    st.sampled_from(["192.0.2.10", "192.0.2.20", "203.0.113.9", "2001:db8::10"]),
    st.one_of(
        st.binary(max_size=1500),
        st.builds(
            lambda head, rest: head + rest, st.sampled_from([LITTLE, BIG, LITTLE + b"KDN\x01"]), st.binary()
        ),
        st.builds(
            encode,
            st.builds(
                beat,
                st.sampled_from(["n1", "n2", "n3"]),
                st.integers(0, 2**64 - 1),
                st.sampled_from([A, B]),
                st.floats(0, 2e9),
                phase=st.none() | st.sampled_from(Phase),
            ),
            st.none() | st.sampled_from([KEY, OTHER_KEY, NEW_KEY]),
        ),
    ),
    st.integers(0, 2**16),
)
def test_no_datagram_of_anybody_raises(address: str, data: bytes, flip: int) -> None:
    """Junk, broken, forged or honest, and with a bit turned: the daemon goes on."""
    made = table()
    for each in (data, data[: flip % (len(data) + 1)], bytes(byte ^ (flip & 1) for byte in data), data):
        hear(made, each, address)
    assert sum(made.counts.values()) == 4
