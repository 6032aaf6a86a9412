"""Names that are shut out."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.hosts.blocks import check_blockable
from receiver.hosts.identity import BadName, Denied, Identity
from receiver.hosts.keys import HostKeys
from receiver.hosts.public_key import KeyRefused, parse_untrusted
from receiver.hosts.tokens import Tokens
from tests.receiver.hosts.conftest import Keys

NOW = 1_790_000_000.0


@pytest.fixture
def hosts(tmp_path: Path) -> HostKeys:
    return HostKeys(tmp_path)


def test_a_blocked_host_is_out_until_it_is_let_in_again(hosts: HostKeys, keys: Keys) -> None:
    """Its key stays where it is."""
    key = hosts.add("web01", keys.ed25519).key.fingerprint
    block = hosts.blocks.add("web01", "stolen")
    assert hosts.find(key, "10.0.0.7") == Denied(f"web01 is blocked since {block.since}: stolen")
    assert hosts.blocks.remove("web01")
    assert not hosts.blocks.remove("web01")
    assert isinstance(hosts.find(key, "10.0.0.7"), Identity)


def test_one_machine_of_a_shared_key_can_be_blocked(hosts: HostKeys, keys: Keys) -> None:
    """The others go on."""
    key = hosts.add("fleet", keys.ed25519, shared=True).key.fingerprint
    hosts.blocks.add("fleet@10.0.0.7")
    assert isinstance(hosts.find(key, "10.0.0.7"), Denied)
    assert isinstance(hosts.find(key, "10.0.0.8"), Identity)
    hosts.blocks.add("fleet")
    assert isinstance(hosts.find(key, "10.0.0.8"), Denied)


def test_a_certificates_host_can_be_blocked(hosts: HostKeys) -> None:
    """It has no key here that could be removed."""
    identity = Identity("web01", "web01", "certificate", "10.0.0.7", "")
    assert hosts.unless_blocked(identity) == identity
    hosts.blocks.add("web01")
    assert isinstance(hosts.unless_blocked(identity), Denied)


@pytest.mark.parametrize("bound", ["web01", None])
def test_no_token_gets_around_a_block(hosts: HostKeys, keys: Keys, tmp_path: Path, bound: str | None) -> None:
    """Neither with the blocked name nor with the next name at a blocked address."""
    hosts.add("10.0.0.7", keys.rsa)
    hosts.blocks.add("web01")
    hosts.blocks.add("10.0.0.7")
    tokens = Tokens(tmp_path)
    token, text = tokens.create(host=bound, expires_in_seconds=60, now=NOW)
    with pytest.raises(KeyRefused, match="is blocked"):
        tokens.enrol(token.id, keys.ed25519.encode(), "10.0.0.7", NOW)
    with pytest.raises(KeyRefused):
        tokens.enrol(token.id, keys.rsa.encode(), "10.0.0.7", NOW)
    assert hosts.owner(parse_untrusted(keys.ed25519).fingerprint) is None
    assert tokens.check(text, NOW) == token


def test_a_block_that_cannot_be_read_still_blocks(hosts: HostKeys, tmp_path: Path) -> None:
    """A damaged disk opens no door."""
    hosts.blocks.add("web01", "stolen")
    (tmp_path / "hosts" / "blocked" / "web01.json").write_text("{")
    found = hosts.unless_blocked(Identity("web01", "web01", "certificate", "10.0.0.7", ""))
    assert isinstance(found, Denied)
    assert "not JSON" in found.reason
    assert [block.name for block in hosts.blocks.all()] == ["web01"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "web01@", "web01@db01", "@10.0.0.7", "a@10.0.0.7@b"])
def test_only_names_that_hosts_have_are_blocked(name: str) -> None:
    """A typing error must not look like a block."""
    with pytest.raises(BadName):
        check_blockable(name)
