"""Names of hosts and addresses of peers."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.hosts.identity import UNKNOWN_PEER, BadName, check_host_name, normalised_peer, nth_at_address


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("web01", "web01"),
        ("web01.example.org", "web01.example.org"),
        ("10.0.0.7", "10.0.0.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("2001:db8::1-2", "2001:db8::1-2"),
        ("::1-99", "::1-99"),
        ("x" * 64, "x" * 64),
    ],
)
def test_names_and_addresses_are_hosts(given_name: str, kept: str) -> None:
    """An IPv6 address has one spelling, so that it is one host however it was typed."""
    assert check_host_name(given_name) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".ssh",
        "-x",
        "a b",
        "a/b",
        "a@b",
        "x" * 65,
        "fe80::1%eth0",
        "a\n",
        "wéb",
        "a\0",
        "::1-1",
    ],
)
def test_what_could_be_mistaken_for_something_else_is_no_name(name: str) -> None:
    """The name becomes a directory, a name space and a word in the log."""
    with pytest.raises(BadName, match="is no host name"):
        check_host_name(name)


@given(st.text(max_size=80))
def test_a_name_that_is_taken_stays_as_it_is(name: str) -> None:
    """Checking twice changes nothing, and no name leaves its directory."""
    try:
        kept = check_host_name(name)
    except BadName:
        return
    assert check_host_name(kept) == kept
    assert "/" not in kept
    assert kept not in (".", "..")


@given(st.ip_addresses(), st.integers(1, 99))
def test_every_host_at_an_address_has_a_name_of_its_own(address: ipaddress.IPv4Address, n: int) -> None:
    """What an unbound token makes up is a name that `host remove` takes."""
    assert check_host_name(nth_at_address(str(address), n)) == nth_at_address(str(address), n)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:0db8:0000::0001", "2001:db8::1"),
        ("", UNKNOWN_PEER),
        ("/run/socket", UNKNOWN_PEER),
    ],
)
def test_a_peer_has_one_spelling(address: str, peer: str) -> None:
    """A dual-stack socket shows IPv4 as IPv6; a host must not have two name spaces for that."""
    assert normalised_peer(address) == peer
