"""When each host was last here."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.hosts import contacts
from receiver.hosts.contacts import Contact, Contacts

WEB01 = Contact("web01", "192.0.2.7", "2026-11-23T07:00:00Z", "key")


def test_the_last_login_of_a_host_is_remembered_by_every_process(tmp_path: Path) -> None:
    """Of a host behind a shared key, with its IPv6 address, too."""
    shared = Contact("fleet@2001:db8::1", "2001:db8::1", "2026-11-23T07:00:00Z", "key")
    first = Contacts(tmp_path)
    first.note(WEB01)
    first.note(shared)
    later = Contact("web01", "192.0.2.8", "2026-11-23T08:00:00Z", "certificate")
    first.note(later)
    assert Contacts(tmp_path).all() == {"web01": later, "fleet@2001:db8::1": shared}
    assert Contacts(tmp_path).of("web01") == later
    assert Contacts(tmp_path).of("web02") is None


def test_a_file_that_is_none_of_ours_hides_no_other(tmp_path: Path) -> None:
    """A power cut may leave one empty: it need not survive."""
    known = Contacts(tmp_path)
    known.note(WEB01)
    (tmp_path / "contacts" / "web02.json").write_text("")
    assert known.all() == {"web01": WEB01}


def test_not_more_hosts_are_remembered_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared key's hosts are as many as there are addresses; those that are known go on being told."""
    monkeypatch.setattr(contacts, "MOST", 1)
    known = Contacts(tmp_path)
    known.note(WEB01)
    known.note(Contact("web02", "192.0.2.9", "2026-11-23T07:00:00Z", "key"))
    known.note(Contact("web01", "192.0.2.7", "2026-11-23T09:00:00Z", "key"))
    assert {name: one.at for name, one in Contacts(tmp_path).all().items()} == {
        "web01": "2026-11-23T09:00:00Z"
    }
