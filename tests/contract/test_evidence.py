"""Real ssh, a real collector, a real kdump-fence: what the one sees come in the other counts."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import flattened
from tests.builders.kdump import Kdump
from tests.rig.endpoint import until
from tests.rig.fence import Fence
from tests.rig.receiver import Client, Receiver

PAGES = {number: bytes([number % 251 + 1]) * 4096 for number in range(600)}
STREAM = flattened.stream(Kdump(PAGES, compression="none").writes())
TOKEN = "let-me-in"


@pytest.fixture
def fence(tmp_path: Path) -> Iterator[Fence]:
    place = tmp_path / "fence"
    place.mkdir()
    key, cert = place / "key.pem", place / "cert.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=127.0.0.1"),
        *("-addext", "subjectAltName=IP:127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    settings = f"""
[api]
http = "127.0.0.1:0"
certificate = "{cert}"
key = "{key}"
[[api.token]]
name = "collector"
sha256 = "{digest}"
scopes = ["evidence"]
[node.node-a]
addresses = ["192.0.2.10"]
"""
    with Fence(place, settings) as running:
        yield running


def node(fence: Fence) -> dict[str, Any]:
    shown: dict[str, Any] = fence.get("/v1/nodes/node-a")
    return shown


def evidence(fence: Fence) -> list[dict[str, Any]]:
    """The fence's journal of this node."""
    return [event["data"] for event in fence.get("/v1/events", node="node-a")["events"]]


def block(fence: Fence) -> str:
    return (
        f'[[notify]]\nkind = "fence"\nname = "cluster"\nsocket = {json.dumps(str(fence.socket))}\n'
        'beat_seconds = 0.5\nnodes = { web01 = "node-a" }\n'
    )


def slowly(client: Client) -> subprocess.Popen[bytes]:
    """`ssh … dd of=vmcore`, whose standard input is ours."""
    line = ["ssh", *client.options, "-p", str(client.receiver.port), client.target]
    return subprocess.Popen([*line, "dd bs=512 of='/c/web01-1/vmcore-incomplete'"], stdin=subprocess.PIPE)


def test_a_fence_knows_of_a_dump_while_it_comes_in_and_when_it_is_saved(tmp_path: Path, fence: Fence) -> None:
    """Grade ssh while bytes flow, with progress; grade saved when the dump is whole and on the disk."""
    with Receiver(tmp_path, block(fence)) as receiver:
        client = Client.enrolled(receiver, "web01")
        assert node(fence)["state"] == "quiet"
        assert receiver.cli("notify", "test").returncode == 0
        process = slowly(client)
        assert process.stdin is not None
        piece = len(STREAM) // 40
        sent = 0

        def more() -> None:
            nonlocal sent
            assert process.stdin is not None
            process.stdin.write(STREAM[sent : sent + piece])
            process.stdin.flush()
            sent += piece

        def grade_ssh() -> bool:
            if sent < len(STREAM) // 2:
                more()
            shown = node(fence)
            return shown["grade"] == "ssh" and shown["state"] == "dumping" and shown["progress"] is not None

        until(grade_ssh)
        seen = node(fence)
        assert seen["progress"]["done_bytes"] > 0
        assert seen["off"] is True
        process.stdin.write(STREAM[sent:])
        process.stdin.close()
        assert process.wait(60) == 0
        until(lambda: node(fence)["state"] == "saved")
        assert node(fence)["grade"] == "saved"
        states = [one["state"] for one in evidence(fence) if "was" in one]
        assert states == ["dumping", "saved"]


def test_a_dump_that_breaks_off_is_a_failed_one_for_the_fence(tmp_path: Path, fence: Fence) -> None:
    """And a fence that was away hears of it when it is back, as old as it then is."""
    with Receiver(tmp_path, f"grace_seconds = 1\nsilence_seconds = 5\n{block(fence)}") as receiver:
        client = Client.enrolled(receiver, "web01")
        process = slowly(client)
        assert process.stdin is not None
        process.stdin.write(STREAM[: len(STREAM) // 2])
        process.stdin.flush()
        until(lambda: node(fence)["state"] == "dumping")
        fence.stop()
        process.kill()
        process.communicate(timeout=60)
        until(lambda: receiver.dump()["verdict"] == "truncated")
        until(lambda: "cluster" in receiver.cli("notify", "status", check=False).stdout)
        fence.start()
        until(lambda: node(fence)["state"] == "failed")
        assert node(fence)["off"] is False or node(fence)["grade"] == "ssh"


def test_a_host_that_is_no_cluster_node_is_nobodys_trouble(tmp_path: Path, fence: Fence) -> None:
    """404 is an answer: nothing waits, nothing is logged as an error."""
    with Receiver(tmp_path, block(fence)) as receiver:
        client = Client.enrolled(receiver, "laptop")
        client.ssh("dd bs=512 of='/c/h-1/vmcore'", stdin=STREAM)
        until(lambda: json.loads(receiver.cli("notify", "status", "--json").stdout)[0]["delivered"] == 1)
        assert node(fence)["state"] == "quiet"


def test_evidence_goes_by_https_with_a_token(tmp_path: Path, fence: Fence) -> None:
    """A fence on another machine: its certificate is checked, and it knows who tells."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    ca = tmp_path / "fence" / "cert.pem"
    lines = f'[[notify]]\nkind = "fence"\nname = "far"\nurl = "{fence.ready["http"]}"\nca = "{ca}"\n'
    receiver = Receiver(tmp_path, f'{lines}token_file = "{token}"\n')
    assert receiver.cli("notify", "test").returncode == 0
    token.write_text("another\n")
    refused = receiver.cli("notify", "test", check=False)
    assert (refused.returncode, "answered 401" in refused.stdout) == (75, True)
