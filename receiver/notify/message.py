"""What is told: an entry, or a digest of many, as a CloudEvent, as a title and text, and signed. Sans-IO.

Sources: CloudEvents 1.0 (github.com/cloudevents/spec: spec.md, formats/json-format.md), and
Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks: spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from receiver.catalogue.journal import Entry
from receiver.events import Reported, UploadFailed, UploadFinished

PREFIX: Final = "kdump-net.receiver."
PREFIXED: Final = "whsec_"  # a secret in base64, as Standard Webhooks hand them out
SECRET_MIN: Final = 16  # bytes
LISTED: Final = 20  # groups, and hosts of one group, that a digest names


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell. `id` is the same at every try."""

    id: str
    event: dict[str, Any]  # the CloudEvent
    title: str
    text: str
    entries: tuple[Entry, ...]

    @property
    def body(self) -> bytes:
        """The CloudEvent in structured mode."""
        return json.dumps(self.event).encode()


def of_entry(entry: Entry, source: str) -> Message:
    """The message of one entry."""
    title, text = _words(entry)
    event = _envelope(event_id(entry), source, entry.name, entry.time, entry.fields)
    if entry.dump or entry.host:
        event["subject"] = entry.dump or entry.host
    return Message(event["id"], event, title, text, (entry,))


def digest(entries: Sequence[Entry], source: str) -> Message:
    """One message for many entries: how many of what, the groups with their hosts."""
    ids = [event_id(entry) for entry in entries]
    kinds = Counter(entry.name for entry in entries)
    groups = _groups(entries)
    data = {
        "count": len(entries),
        "from": entries[0].time,
        "to": entries[-1].time,
        "kinds": dict(kinds),
        "groups": groups,
        "hosts": dict(Counter(entry.host for entry in entries if entry.host).most_common(LISTED)),
        "ids": ids,
    }
    name = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]
    event = _envelope(f"digest-{name}", source, "digest", entries[-1].time, data)
    title = f"{len(entries)} events: " + ", ".join(f"{n}x {kind}" for kind, n in kinds.most_common(4))
    lines = [f"{entries[0].time} to {entries[-1].time}"]
    for group in groups:
        names = ", ".join(group["hosts"])
        more = f" and {group['host_count'] - LISTED} more" if group["host_count"] > LISTED else ""
        lines.append(f"{group['count']:>5}x {group['title']}: {names}{more}")
    lines += [f"{n:>5}x {kind}" for kind, n in kinds.most_common() if kind != Reported.name]
    return Message(event["id"], event, _plain(title), _plain("\n".join(lines)), tuple(entries))


def event_id(entry: Entry) -> str:
    """Stable, and not that of another entry in a journal that was made anew."""
    return f"{entry.id}-{''.join(c for c in entry.time if c.isdigit())}"


def secret_of(text: str) -> bytes:
    """The key behind a secret as it stands in its file: ``whsec_`` and base64, or the bytes as they are.

    Raises:
        ValueError: too short to be one, or no base64.
    """
    text = text.strip()
    if text.startswith(PREFIXED):
        try:
            key = base64.b64decode(text.removeprefix(PREFIXED), validate=True)
        except binascii.Error:
            raise ValueError("what follows whsec_ is not base64") from None
    else:
        key = text.encode()
    if len(key) < SECRET_MIN:
        raise ValueError(f"a secret has at least {SECRET_MIN} bytes")
    return key


def signature(secrets: Sequence[bytes], id: str, at: int, body: bytes) -> dict[str, str]:  # noqa: A002
    """The headers that prove who sent `body`, and when (Unix time): one signature for each secret."""
    signed = f"{id}.{at}.".encode() + body
    codes = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in secrets)
    headers = {"webhook-id": id, "webhook-timestamp": str(at)}
    return headers | ({"webhook-signature": " ".join(f"v1,{code}" for code in codes)} if secrets else {})


def _envelope(id: str, source: str, name: str, at: str, data: object) -> dict[str, Any]:  # noqa: A002
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": PREFIX + name,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }


def _groups(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The crashes by group, the most frequent first."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.name == Reported.name:
            found.setdefault(entry.fields.get("signature") or "", []).append(entry)
    groups = []
    for signature, crashes in sorted(found.items(), key=lambda item: -len(item[1]))[:LISTED]:
        hosts = Counter(entry.host or "?" for entry in crashes)
        groups.append(
            {
                "signature": signature,
                "title": crashes[0].fields.get("title") or "no crash in its log",
                "crash_class": crashes[0].fields.get("crash_class"),
                "count": len(crashes),
                "host_count": len(hosts),
                "hosts": [host for host, _ in hosts.most_common(LISTED)],
            }
        )
    return groups


def _words(entry: Entry) -> tuple[str, str]:
    """A title and a text for people."""
    fields = entry.fields
    host = entry.host or fields.get("target") or fields.get("where") or ""
    match entry.name:
        case "dump.reported":
            what = fields.get("title") or "a dump without a crash in its log"
        case "group.new":
            what = f"new: {fields.get('title')}"
        case UploadFinished.name:
            what = f"{fields.get('file')} is stored: {fields.get('verdict')}"
        case UploadFailed.name:
            what = f"{fields.get('file')} could not be stored: {fields.get('reason')}"
        case _:
            what = str(fields.get("reason") or entry.name)
    lines = [f"{key}: {value}" for key, value in fields.items() if value not in ("", None)]
    title = f"{host}: {what}" if host else f"{entry.name}: {what}"
    return _plain(title.replace("\n", " "))[:200], _plain("\n".join([entry.name, entry.time, *lines]))


def _plain(text: str) -> str:
    """Crashed kernels and strangers chose parts of it: nothing that a terminal or a mail header obeys."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
