"""The API of a real server, over real HTTP, about a dump that a real ssh sent."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rig.receiver import Client, Receiver, keygen
from tests.rig.web import ask, send

HTML = b"[    1.0] <script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31mred\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def receiver(place: Path, data: Path) -> Iterator[Receiver]:
    """A server with one dump of web01, and one of web02 that is only a log full of markup."""
    with Receiver(place, web="127.0.0.1:0") as running:
        send(Client.enrolled(running, "web01"), data / "vmcore.flat")
        hostile = Client.enrolled(running, "web02")
        hostile.ssh("dd bs=512 of='/var/crash/h-2/vmcore-dmesg.txt'", stdin=HTML)
        yield running


@pytest.fixture
def web(receiver: Receiver) -> Iterator[httpx.Client]:
    with ask(receiver) as client:
        yield client


@pytest.fixture
def dump(web: httpx.Client) -> dict[str, Any]:
    """The dump of web01, reported."""
    for _ in range(600):
        (found,) = web.get("/api/v1/dumps", params={"host": "web01"}).json()["dumps"]
        if found["signature"]:
            break
        time.sleep(0.05)
    whole: dict[str, Any] = web.get(f"/api/v1/dumps/{found['id']}").json()["dump"]
    return whole


def test_the_api_lists_what_the_cli_lists(
    receiver: Receiver, web: httpx.Client, dump: dict[str, Any]
) -> None:
    """The same dumps by the same filters."""
    for filters in ({"host": "web01"}, {"verdict": "complete"}, {"since": "1h"}, {"verdict": "damaged"}):
        words = [word for name, value in filters.items() for word in (f"--{name}", value)]
        listed = web.get("/api/v1/dumps", params=filters).json()["dumps"]
        assert [one["id"] for one in listed] == [one["id"] for one in receiver.dumps(*words)]
    assert dump["verdict"] == "complete"
    groups = web.get("/api/v1/groups").json()["groups"]
    assert [group["dumps"] for group in groups] == [[dump["id"]]]
    assert groups == json.loads(receiver.cli("groups", "--json").stdout)
    signature = groups[0]["signature"]
    assert web.get(f"/api/v1/groups/{signature[:6]}").json()["signature"] == signature


def test_pages_of_a_list_join_without_gap_or_repetition(web: httpx.Client) -> None:
    """The cursor of one page leads to the next, and the last one has none."""
    whole = [one["id"] for one in web.get("/api/v1/dumps").json()["dumps"]]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = web.get("/api/v1/dumps", params={"limit": 1, **cursor}).json()
        seen += [one["id"] for one in page["dumps"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == whole
    assert len(seen) == 2


def test_a_download_is_the_file_whole_or_in_parts(
    receiver: Receiver, web: httpx.Client, dump: dict[str, Any]
) -> None:
    """A broken-off download goes on with Range and If-Range; the bytes are those on the disk."""
    path = f"/api/v1/dumps/{dump['id']}/files/vmcore"
    stored = (receiver.root / dump["directory"] / "vmcore").read_bytes()
    head = web.head(path)
    assert head.status_code == 200
    assert int(head.headers["content-length"]) == len(stored)
    whole = web.get(path)
    assert whole.content == stored
    assert whole.headers["etag"] == head.headers["etag"]
    assert whole.headers["content-disposition"].startswith("attachment")
    cut = len(stored) // 3
    ranges = (
        (f"bytes=0-{cut}", stored[: cut + 1]),
        (f"bytes={cut}-", stored[cut:]),
        ("bytes=-1000", stored[-1000:]),
        (f"bytes={cut}-{len(stored) * 9}", stored[cut:]),
    )
    for asked, wanted in ranges:
        part = web.get(path, headers={"range": asked, "if-range": whole.headers["etag"]})
        assert part.status_code == 206
        assert part.content == wanted
        assert part.headers["content-range"].endswith(f"/{len(stored)}")
    other = web.get(path, headers={"range": "bytes=5-", "if-range": '"another file"'})
    assert (other.status_code, other.content) == (200, stored)
    beyond = web.get(path, headers={"range": f"bytes={len(stored)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(stored)}")
    known = web.get(path, headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


def test_only_a_dumps_own_files_can_be_had(web: httpx.Client, dump: dict[str, Any]) -> None:
    """No path leads out of the dump's directory."""
    for name in ("..%2f.state%2fcatalogue.sqlite", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "nope", ".hidden"):
        answer = web.get(f"/api/v1/dumps/{dump['id']}/files/{name}")
        assert answer.status_code == 404, name


def test_a_hostile_log_stays_text(web: httpx.Client) -> None:
    """A kernel log full of markup is text/plain, sniffed by no browser, and runs nowhere."""
    (found,) = web.get("/api/v1/dumps", params={"host": "web02"}).json()["dumps"]
    log = web.get(f"/api/v1/dumps/{found['id']}/log")
    assert b"<script>alert(1)</script>" in log.content
    assert log.headers["content-type"].startswith("text/plain")
    assert log.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in log.headers["content-security-policy"]
    missing = web.get("/api/v1/dumps/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert missing.headers["content-type"] == "application/problem+json"


def test_errors_are_problem_details(web: httpx.Client) -> None:
    """RFC 9457, whatever is wrong; a wrong method hears of the right ones."""
    json_type = {"content-type": "application/json"}
    answers = (
        (web.get("/api/v1/nope"), 404),
        (web.get("/api/v1/dumps/nope"), 404),
        (web.patch("/api/v1/tokens"), 405),
        (web.get("/api/v1/dumps?limit=0"), 422),
        (web.get("/api/v1/dumps?colour=red"), 422),
        (web.get("/api/v1/dumps?since=soon"), 422),
        (web.get("/api/v1/dumps?cursor=AAAA"), 422),
        (web.post("/api/v1/tokens", json={"uses": 0}), 422),
        (web.post("/api/v1/tokens", content=b"{", headers=json_type), 422),
        (web.post("/api/v1/hosts/web09/keys", json={"key": "ssh-rsa nonsense"}), 422),
        (
            web.post("/api/v1/tokens", content=b"x" * 70_000, headers={"content-type": "application/json"}),
            413,
        ),
    )
    for answer, status in answers:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert body["status"] == status
        assert {"type", "title", "detail", "instance"} <= set(body)
    assert "POST" in answers[2][0].headers["allow"]


def test_hosts_and_tokens_are_managed_as_by_the_cli(
    receiver: Receiver, web: httpx.Client, place: Path
) -> None:
    """What the API adds, blocks, removes and revokes, the CLI shows, and the door obeys."""
    key = keygen(place, "web10")
    public = Path(f"{key}.pub").read_text()
    added = web.post("/api/v1/hosts/web10/keys", json={"key": public, "addresses": ["127.0.0.0/8"]})
    assert added.status_code == 201
    client = Client(receiver, place, key)
    assert client.ssh("df -P /var/crash").returncode == 0
    assert web.put("/api/v1/hosts/web10/block", json={"note": "broken"}).json()["note"] == "broken"
    assert client.ssh("df -P /var/crash", check=False).returncode != 0
    assert web.get("/api/v1/hosts/web10").json()["block"]["note"] == "broken"
    assert web.delete("/api/v1/hosts/web10/block").status_code == 204
    removed = web.delete("/api/v1/hosts/web10/keys").json()["removed"]
    assert removed == [added.json()["fingerprint"]]
    assert web.delete("/api/v1/hosts/web10/keys").status_code == 404
    token = web.post("/api/v1/tokens", json={"host": "web11", "note": "for the rack"}).json()
    listed = json.loads(receiver.cli("token", "list", "--json").stdout)
    assert [(one["id"], one["note"]) for one in listed] == [(token["id"], "for the rack")]
    assert token["token"] not in web.get("/api/v1/tokens").text
    assert web.delete(f"/api/v1/tokens/{token['id']}").status_code == 204
    assert web.get("/api/v1/tokens").json() == {"tokens": []}


def test_a_dump_is_pinned_as_by_the_cli(receiver: Receiver, web: httpx.Client, dump: dict[str, Any]) -> None:
    """The CLI shows who and why; what is not pinned cannot be unpinned."""
    path = f"/api/v1/dumps/{dump['id']}/pin"
    pinned = web.put(path, json={"note": "RMA 4711"})
    assert pinned.status_code == 200
    assert pinned.json()["note"] == "RMA 4711"
    shown = json.loads(receiver.cli("info", dump["id"], "--json").stdout)
    assert shown["pinned"] == pinned.json()
    assert web.get(f"/api/v1/dumps/{dump['id']}").json()["dump"]["pinned"] == pinned.json()
    assert web.put(path, json={"note": "x" * 201}).status_code == 422
    assert web.delete(path).status_code == 204
    assert json.loads(receiver.cli("info", dump["id"], "--json").stdout)["pinned"] is None
    assert web.delete(path).status_code == 404
    assert web.put("/api/v1/dumps/none/pin", json={}).status_code == 404


def test_metrics_count_what_happened(web: httpx.Client, dump: dict[str, Any]) -> None:
    """Uploads by result and client, bytes, durations, lag of every process, room."""
    text = web.get("/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['kdump_receiver_uploads_total{client="kdump-utils",result="complete"}'] == "1.0"
    size = sum(file["bytes"] for file in dump["files"])
    assert float(samples["kdump_receiver_upload_bytes_total"]) == size + len(HTML)
    assert samples["kdump_receiver_upload_seconds_count"] == "1.0"
    assert float(samples['kdump_receiver_event_loop_lag_seconds{process="worker0"}']) < 5
    assert float(samples["kdump_receiver_disk_free_bytes"]) > 0
    assert samples['kdump_receiver_dumps{verdict="complete"}'] == "1.0"
    assert samples["kdump_receiver_groups"] == "1.0"


def test_health_and_readiness(web: httpx.Client) -> None:
    """Ready names each thing that must be so."""
    assert web.get("/healthz").json() == {"ok": True}
    ready = web.get("/readyz")
    assert ready.json() == {"ok": True, "checks": {"disk": "ok", "catalogue": "ok", "worker 0": "ok"}}


def frames(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    """The next `count` events of a stream."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == count:
                break
    return found


def test_a_stream_of_events_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Last-Event-ID replays what happened while the client, and the server, were away; nothing twice."""
    with Receiver(tmp_path, web="127.0.0.1:0") as running:
        client = Client.enrolled(running, "web01")
        headers = {"accept": "text/event-stream"}
        with ask(running) as web, web.stream("GET", "/api/v1/events", headers=headers) as live:
            assert live.headers["content-type"].startswith("text/event-stream")
            lines = live.iter_lines()
            assert next(lines).startswith("retry: ")
            client.ssh("dd bs=512 of='/var/crash/h-1/README.txt'", stdin=b"one\n")
            seen = frames(lines, 2)
        assert [one["name"] for one in seen] == ["upload.started", "upload.finished"]
        client.ssh("dd bs=512 of='/var/crash/h-1/OTHER.txt'", stdin=b"two\n")
        assert running.stop() == 0
        running.start()
        headers["last-event-id"] = str(seen[-1]["id"])
        with ask(running) as web, web.stream("GET", "/api/v1/events?host=web01", headers=headers) as again:
            replayed = frames(again.iter_lines(), 2)
        assert [one["fields"]["file"] for one in replayed] == ["OTHER.txt", "OTHER.txt"]
        assert min(one["id"] for one in replayed) > seen[-1]["id"]
        with ask(running) as web:
            text = web.get("/metrics").text
            assert 'files_total{client="rhel7",result="complete"} 2.0' in text  # counted across the restart
            page = web.get(
                "/api/v1/events", params={"after": seen[0]["id"], "name": "upload.finished"}
            ).json()
            assert [one["name"] for one in page["events"]] == ["upload.finished"] * 2


def test_digest_of_a_download_is_the_one_in_the_manifest(web: httpx.Client, dump: dict[str, Any]) -> None:
    """What arrives here is what was stored."""
    (core,) = [file for file in dump["files"] if file["core"]]
    content = web.get(f"/api/v1/dumps/{dump['id']}/files/{core['name']}").content
    assert hashlib.sha256(content).hexdigest() == core["sha256"]
