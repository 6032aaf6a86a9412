"""What is told: CloudEvents, digests, words for people, signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.catalogue.journal import Entry
from receiver.events import CommandRefused, Event, Reported, UploadFailed, name_of, to_fields
from receiver.notify import message


def entry(number: int, event: Event) -> Entry:
    fields = to_fields(event)
    at = f"2026-11-23T10:00:{number % 60:02}.000Z"
    return Entry(number, at, name_of(event), fields.get("host"), fields.get("dump"), fields)


def crash(number: int, host: str = "web01", group: str = "aa") -> Entry:
    return entry(number, Reported(host, f"d{number}", "null-pointer", f"oops in {group}", group, "complete"))


def test_an_entry_is_a_cloud_event() -> None:
    """spec.md: specversion, id, source, type are required; source and id together are unique."""
    told = message.of_entry(crash(7), "/kdump-receiver/collector1")
    assert json.loads(told.body) == {
        "specversion": "1.0",
        "id": "7-20261123100007000",
        "source": "/kdump-receiver/collector1",
        "type": "kdump-net.receiver.dump.reported",
        "subject": "d7",
        "time": "2026-11-23T10:00:07.000Z",
        "datacontenttype": "application/json",
        "data": {
            "host": "web01",
            "dump": "d7",
            "crash_class": "null-pointer",
            "title": "oops in aa",
            "signature": "aa",
            "verdict": "complete",
        },
    }
    assert told.title == "web01: oops in aa"
    assert "crash_class: null-pointer" in told.text


def test_a_digest_counts_by_group_and_host() -> None:
    """One look tells what broke where; each event's id is in it, to drop doubles."""
    entries = [crash(n, f"web{n % 30:02}") for n in range(60)] + [
        crash(60 + n, "db1", "bb") for n in range(5)
    ]
    entries.append(entry(99, UploadFailed("db2", "p", "/c/vmcore", "disk full")))
    told = message.digest(entries, "/s")
    data = told.event["data"]
    assert (data["count"], data["kinds"]) == (66, {"dump.reported": 65, "upload.failed": 1})
    first, second = data["groups"]
    assert (first["count"], first["host_count"], len(first["hosts"])) == (60, 30, 20)
    assert (second["title"], second["hosts"]) == ("oops in bb", ["db1"])
    assert len(data["ids"]) == 66
    assert told.title == "66 events: 65x dump.reported, 1x upload.failed"
    assert "   60x oops in aa: web00, web01" in told.text
    assert "and 10 more" in told.text
    assert message.digest(entries, "/s").id == told.id != message.digest(entries[1:], "/s").id


@given(st.text(max_size=300))
def test_words_for_people_hold_nothing_that_is_obeyed(text: str) -> None:
    """A crashed kernel's log and a stranger's command end up in mails and terminals."""
    for one in (
        entry(1, CommandRefused("web01", "p", text, text)),
        entry(2, Reported("web01", "d", "x", text, "s", "complete")),
    ):
        told = message.of_entry(one, "/s")
        assert told.title.isprintable()
        assert all(part.isprintable() for part in told.text.split("\n"))
        assert len(told.title) <= 200
        json.loads(told.body)


def test_the_signature_is_the_one_of_standard_webhooks() -> None:
    """By their own example: secret, id, time and payload of the specification's libraries' tests."""
    secret = message.secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    payload = b'{"test": 2432232314}'
    headers = message.signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, payload)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_secrets_are_changed_both_sign() -> None:
    old, new = message.secret_of("o" * 20), message.secret_of("n" * 20)
    both = message.signature([new, old], "1", 5, b"x")["webhook-signature"].split()
    for key in (old, new):
        code = hmac.new(key, b"1.5.x", hashlib.sha256).digest()
        assert "v1," + base64.b64encode(code).decode() in both
    assert "webhook-signature" not in message.signature([], "1", 5, b"x")


@pytest.mark.parametrize("bad", ["", "short", "whsec_not base64!", "whsec_AAAA"])
def test_a_secret_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"secret has at least|not base64"):
        message.secret_of(bad)
