"""Where a key may come from."""

from __future__ import annotations

import pytest

from receiver.hosts.addresses import BadAddress, check_address, comes_from


@pytest.mark.parametrize(
    ("peer", "places", "may"),
    [
        ("10.0.0.7", ["10.0.0.7"], True),
        ("10.0.0.8", ["10.0.0.7"], False),
        ("10.0.0.8", ["10.0.0.7", "10.0.0.0/24"], True),
        ("10.0.1.8", ["10.0.0.0/24"], False),
        ("2001:db8::7", ["2001:db8::/64"], True),
        ("2001:db8:1::7", ["2001:db8::/64"], False),
        ("::ffff:10.0.0.7", ["10.0.0.7"], True),
        ("10.0.0.7", ["2001:db8::/64"], False),
        ("unknown", ["0.0.0.0/0"], False),
    ],
)
def test_a_key_comes_from_its_places_only(peer: str, places: list[str], may: bool) -> None:
    """Addresses and networks of both families, mixed."""
    assert comes_from(peer, places) is may


def test_an_address_is_kept_in_one_spelling() -> None:
    """IPv4 behind IPv6 is IPv4, as peers are."""
    assert check_address("::FFFF:10.0.0.7") == "10.0.0.7"
    assert check_address("2001:DB8::/32") == "2001:db8::/32"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("web01", "neither an IP address nor a network"),
        ("10.0.0.7/24", "the network is 10.0.0.0/24"),
        ("10.0.0.0/33", "neither"),
        ("", "neither"),
    ],
)
def test_an_address_that_is_none_is_refused(text: str, reason: str) -> None:
    """A typing error must not become a rule that nothing fits, or everything."""
    with pytest.raises(BadAddress, match=reason):
        check_address(text)
