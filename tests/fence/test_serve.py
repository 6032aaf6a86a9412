"""`kdump-fence serve` as a process: real datagrams, real clients, signals, kills and restarts."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from fence.message import BIG, LITTLE, Message, Phase, encode
from tests.rig.c_pair import C_SENDER, WHY_NOT
from tests.rig.fence import PROGRAM, SECONDS, Fence

KEY = b"k" * 32
NODES = f"""
nodes.unlisted = "refuse"
[node.n1]
addresses = ["127.0.0.1", "::1"]
[node.n2]
addresses = ["127.0.0.2"]
keys = ["{KEY.hex()}"]
[node.n3]
addresses = ["127.0.0.3"]
off_grade = "signed"
keys = ["{(b"3" * 32).hex()}"]
"""
C = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture
def fence(tmp_path: Path) -> Iterator[Fence]:
    with Fence(tmp_path, NODES) as made:
        yield made


def ask(fence: Fence, name: str, timeout: float = 20) -> tuple[threading.Thread, list[Any]]:
    """Wait for the answer in the background, once the daemon knows of the question."""
    answers: list[Any] = []
    waiting = fence.get("/healthz")["waits"]
    thread = threading.Thread(
        target=lambda: answers.append(fence.get(f"/v1/nodes/{name}/off", timeout=str(timeout)))
    )
    thread.start()
    fence.until(lambda: fence.get("/healthz")["waits"] > waiting)
    return thread, answers


def signed(sequence: int, **more: Any) -> bytes:
    stamp = int(time.time() * 1000)
    return encode(Message(node="n2", session=b"S" * 16, sequence=sequence, time=stamp, **more), KEY)


@C
def test_the_c_sender_is_heard(fence: Fence) -> None:
    """The unmodified fence_kdump_send of the distribution."""
    thread, answers = ask(fence, "n1")
    subprocess.run([C_SENDER, "-p", str(fence.port), "-c", "1", "127.0.0.1"], check=True, timeout=SECONDS)
    thread.join()
    assert (answers[0]["off"], answers[0]["grade"]) == (True, "udp")


@C
def test_two_nodes_that_crash_at_once_are_both_off(fence: Fence) -> None:
    """With the C agent one of them is power-cycled in the middle of its dump."""
    one, two = ask(fence, "n1"), ask(fence, "n2")
    for source in ("127.0.0.1", "127.0.0.2"):
        fence.send(LITTLE, source=source)
    for thread, answers in (one, two):
        thread.join()
        assert answers[0]["off"]


@C
def test_the_message_came_before_the_question(fence: Fence) -> None:
    """The sender was faster than the cluster: the answer takes no time."""
    subprocess.run([C_SENDER, "-p", str(fence.port), "-c", "1", "127.0.0.1"], check=True, timeout=SECONDS)
    fence.until(lambda: fence.node("n1")["state"] == "dumping")
    answer = fence.get("/v1/nodes/n1/off", timeout="60")
    assert (answer["off"], answer["waited_seconds"] < 0.5) == (True, True)


def test_a_big_endian_sender_is_heard(fence: Fence) -> None:
    """s390x; it kills oVirt's listener."""
    fence.send(BIG)
    fence.until(lambda: fence.off("n1"))


def test_ipv6_is_heard(tmp_path: Path) -> None:
    """Beside IPv4, each on its own socket."""
    nodes = '[node.n1]\naddresses = ["::1"]'
    with Fence(tmp_path, nodes, listen=("[::1]:0", "127.0.0.1:0")) as fence:
        fence.send(LITTLE, "::1")
        fence.until(lambda: fence.off("n1"))
        assert len(fence.ready["udp_all"]) == 2


def test_junk_of_all_kinds_kills_nothing(fence: Fence) -> None:
    """Empty, short, long, random, half right: the daemon goes on, and says how many there were."""
    for data in (b"", b"\0", LITTLE[:7], os.urandom(100), LITTLE[:4] + b"\xff" * 4, b"x" * 60_000):
        fence.send(data)
    fence.send(LITTLE + os.urandom(1300))
    fence.send(LITTLE + b"KDN\x01" + os.urandom(500))
    fence.until(lambda: fence.get("/healthz")["junk"] >= 6)
    assert fence.off("n1")
    assert fence.get("/healthz")["ok"]


def test_a_signed_policy_takes_only_a_signature(fence: Fence) -> None:
    """A spoofed datagram does not fence n3; one by its key does, from any address."""
    fence.send(LITTLE, source="127.0.0.3")
    fence.until(lambda: fence.node("n3")["state"] == "dumping")
    assert not fence.off("n3")
    message = Message(node="n3", session=b"S" * 16, sequence=1, time=int(time.time() * 1000))
    fence.send(encode(message, KEY), source="127.0.0.3")  # by another node's key
    fence.send(encode(message, b"3" * 32), source="127.0.0.9")
    fence.until(lambda: fence.off("n3"))
    assert fence.node("n3")["heard_from"] == "127.0.0.9"
    assert "alarm" in fence.kinds()


def test_kill_9_loses_no_evidence_and_makes_none_younger(fence: Fence) -> None:
    """The daemon is back within the window: what it heard before counts, with its true age."""
    fence.send(LITTLE)
    fence.until(lambda: "node.dumping" in fence.kinds())
    before = fence.node("n1")["age_seconds"]
    time.sleep(1.1)  # real age is what is tested
    fence.kill()
    fence.start()
    node = fence.node("n1")
    assert (node["state"], node["off"], node["beats"]) == ("dumping", True, 1)
    assert node["age_seconds"] >= before + 1.1
    assert fence.kinds()[-1] == "daemon.started"


def test_kill_9_after_an_alive_never_brings_back_what_it_cleared(fence: Fence) -> None:
    """An `alive` is on the disk when it is answered."""
    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    assert fence.post("/v1/nodes/n1/alive")["durable"]
    fence.kill()
    fence.start()
    assert (fence.off("n1"), fence.node("n1")["state"]) == (False, "quiet")


def test_kill_9_forgets_no_session(fence: Fence) -> None:
    """A recorded message stays a recorded message."""
    first = signed(1000)
    fence.send(first)
    fence.until(lambda: fence.node("n2")["grade"] == "signed")
    assert fence.post("/v1/nodes/n2/alive")["durable"]
    fence.kill()
    fence.start()
    for replay in (first, signed(1001)):  # the second was held back
        fence.send(replay)
    fence.until(lambda: fence.node("n2")["alarms"] >= 1)
    assert not fence.off("n2")


def on_disk(fence: Fence, name: str) -> str | None:
    """The state of a node that a kill does not lose."""
    with closing(sqlite3.connect(f"file:{fence.directory}/state/journal.sqlite?mode=ro", uri=True)) as db:
        row = db.execute("SELECT line FROM standing WHERE node = ?", [name]).fetchone()
    return str(json.loads(row[0])["state"]) if row else None


def test_many_kills_during_a_dump_and_the_journal_is_whole(fence: Fence) -> None:
    """Ids go on growing, nothing is there twice."""
    for number in range(4):
        fence.send(signed(1000 * (number + 1), phase=Phase.DUMPING))
        fence.until(lambda: fence.off("n2"))
        fence.until(lambda: on_disk(fence, "n2") == "dumping")  # written soon after the answer
        fence.kill()
        fence.start()
    events = fence.get("/v1/events", limit="1000")["events"]
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    started = [event["data"]["clean"] for event in events if event["type"].endswith("daemon.started")]
    assert started == [True, False, False, False, False]
    assert fence.node("n2")["state"] == "dumping"


def test_a_stopped_process_does_not_take_old_datagrams_for_new(tmp_path: Path) -> None:
    """SIGSTOP, swap, a frozen virtual machine: what waited in the socket is as old as it is."""
    nodes = "policy.window_seconds = 2\nnode.n1.addresses = ['127.0.0.1']\nnode.n2.addresses = ['127.0.0.2']"
    with Fence(tmp_path, nodes) as fence:
        assert not fence.off("n1")
        os.kill(fence.pid, signal.SIGSTOP)
        fence.send(LITTLE)
        time.sleep(3)  # the window passes for real
        fence.send(LITTLE, source="127.0.0.2")
        os.kill(fence.pid, signal.SIGCONT)
        fence.until(lambda: fence.node("n2")["off"])
        node = fence.node("n1")
        assert (node["beats"], node["off"]) == (1, False)
        assert node["age_seconds"] >= 3


def test_sigterm_answers_who_waits_and_ends_clean(fence: Fence) -> None:
    """Status 0, the socket is gone, the journal knows that it was told."""
    thread, answers = ask(fence, "n1")
    started = time.monotonic()
    assert fence.stop() == 0
    assert time.monotonic() - started < 30
    thread.join()
    assert (answers[0]["status"], answers[0]["error"]) == (
        503,
        "the daemon is stopping; ask another, or again",
    )
    assert not fence.socket.exists()
    fence.start()
    assert "daemon.stopped" in fence.kinds()


def test_sighup_reads_the_nodes_again(fence: Fence) -> None:
    """New ones are heard, gone ones are not, and what was heard before the reload is not lost."""
    fence.send(LITTLE)
    fence.send(LITTLE, source="127.0.0.4")
    fence.until(lambda: fence.off("n1") and fence.get("/v1/unknown")["senders"])
    assert fence.get("/v1/nodes/n4")["status"] == 404
    good = fence.config.read_text()
    fence.config.write_text(
        good.replace("[node.n3]", "[node.n4]").replace("127.0.0.3", "127.0.0.4").replace('"signed"', '"udp"')
    )
    os.kill(fence.pid, signal.SIGHUP)
    fence.until(lambda: "daemon.reloaded" in fence.kinds())
    assert fence.off("n1")
    assert fence.off("n4")  # it sent before anybody knew it
    assert fence.get("/v1/nodes/n3")["status"] == 404


def test_a_reload_of_nonsense_keeps_what_was_and_says_so(fence: Fence) -> None:
    """A typing error at three in the morning."""
    good = fence.config.read_text()
    fence.config.write_text(good + "\n[node.n9]\nadresses = ['x']\n")
    os.kill(fence.pid, signal.SIGHUP)
    fence.until(lambda: not fence.get("/healthz")["ok"])
    (problem,) = fence.get("/healthz")["problems"]
    assert "node.n9.adresses: no such setting" in problem
    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    fence.config.write_text("receive_buffer = '4M'\n" + good)
    os.kill(fence.pid, signal.SIGHUP)
    fence.until(lambda: "take a restart" in str(fence.get("/healthz")["problems"]))
    fence.config.write_text(good)
    os.kill(fence.pid, signal.SIGHUP)
    fence.until(lambda: fence.get("/healthz")["ok"])


def test_systemd_is_told(tmp_path: Path) -> None:
    """READY when datagrams are taken, the watchdog while the loop turns, RELOADING, STOPPING."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(SECONDS)
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        with Fence(tmp_path, environment=environment) as fence:
            told = [manager.recv(4096).decode()]
            assert told[0].splitlines() == ["READY=1", "STATUS=0 nodes, 0 dumping, 0 questions wait"]
            told.append(manager.recv(4096).decode())
            assert told[1].startswith("WATCHDOG=1\nSTATUS=")
            os.kill(fence.pid, signal.SIGHUP)
            while not told[-1].startswith("RELOADING=1"):
                told.append(manager.recv(4096).decode())
            assert told[-1].splitlines()[1].startswith("MONOTONIC_USEC=")
            while not told[-1].startswith("READY=1"):
                told.append(manager.recv(4096).decode())
            fence.stop()
            while told[-1] != "STOPPING=1":
                told.append(manager.recv(4096).decode())


def test_the_api_by_tcp_is_in_the_ready_line(tmp_path: Path) -> None:
    """Port 0 is for tests and for who reads it there."""
    token = "r" * 64
    block = f"[[api.token]]\nname = 't'\nsha256 = '{sha256(token.encode()).hexdigest()}'\n"
    with Fence(tmp_path, block, arguments=("--http", "[::1]:0")) as fence:
        assert fence.ready["http"].startswith("http://[::1]:")
        answer = httpx.get(f"{fence.ready['http']}/v1/nodes", headers={"authorization": f"Bearer {token}"})
        assert answer.json() == {"nodes": []}


def test_what_cannot_be_remembered_is_forgotten(fence: Fence) -> None:
    """A line of the state that is damaged costs that node its memory, and nothing else."""
    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    fence.stop()
    with sqlite3.connect(fence.directory / "state" / "journal.sqlite") as state:
        state.execute("UPDATE standing SET line = '{' WHERE node = 'n1'")
    state.close()
    fence.start()
    assert fence.node("n1")["state"] == "quiet"
    assert "node.forgotten node=n1" in fence.log.read_text()


def test_a_second_daemon_on_the_same_state_is_refused(fence: Fence, tmp_path: Path) -> None:
    """One line, and the status says what kind of trouble it is."""

    def second(state: Path, listen: str) -> subprocess.CompletedProcess[str]:
        command = [
            str(PROGRAM),
            "serve",
            "--config",
            str(fence.config),
            "--socket",
            str(tmp_path / "other.sock"),
        ]
        command += ["--state-dir", str(state), "--listen", listen]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)

    done = second(fence.directory / "state", "127.0.0.1:0")
    assert done.returncode == 73
    assert done.stderr.strip().endswith("another kdump-fence uses it; say another --state-dir")
    done = second(tmp_path / "other", fence.ready["udp"])
    assert done.returncode == 71
    assert "Address already in use; see `ss -ulpn" in done.stderr
    assert fence.get("/healthz")["ok"]


def test_a_name_is_resolved_again(tmp_path: Path) -> None:
    """A node that moved is heard at its new address; the old one is a stranger's."""
    hosts = Path("/etc/hosts")
    if os.geteuid() != 0:
        pytest.skip("needs root to change /etc/hosts")
    before = hosts.read_text()
    settings = "nodes.resolve_seconds = 1\n[node.n1]\naddresses = ['moving-node.test']"
    fence = Fence(tmp_path, settings)
    try:
        with fence:
            assert fence.node("n1")["unresolved"] == ["moving-node.test"]
            assert fence.get("/healthz")["unresolved"] == 1
            fence.send(LITTLE, source="127.0.0.11")
            hosts.write_text(f"{before}\n127.0.0.11 moving-node.test\n127.0.0.12 moving-node.test\n")
            fence.until(lambda: fence.off("n1"))
            assert fence.node("n1")["addresses"] == ["127.0.0.11", "127.0.0.12"]
            hosts.write_text(f"{before}\n127.0.0.13 moving-node.test\n")
            fence.until(lambda: fence.node("n1")["addresses"] == ["127.0.0.13"])
            hosts.write_text(before)
            time.sleep(1.5)  # it is looked up again, and not found
            assert fence.node("n1")["addresses"] == ["127.0.0.13"]
    finally:
        hosts.write_text(before)


def test_metrics_are_what_prometheus_reads(fence: Fence) -> None:
    """Every family with help and type, and the numbers that matter."""
    from prometheus_client.parser import text_string_to_metric_families

    fence.send(LITTLE)
    fence.send(signed(5))
    fence.send(b"junkjunkjunk")
    fence.until(lambda: fence.off("n1"))
    fence.until(lambda: fence.get("/healthz")["junk"])
    with fence.http() as http:
        text = http.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(name.startswith("kdump_fence_") and family.documentation for name, family in families.items())
    samples = {
        (sample.name.removeprefix("kdump_fence_"), *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["nodes", "dumping"] == 2
    assert samples["node_grade", "n2", "dumping"] == 3
    assert samples["messages_total", "unsigned"] == samples["messages_total", "signed"] == 1
    assert samples["datagrams_filtered_total", fence.ready["udp"]] == 1
    assert samples["decisions_total", "yes"] >= 1
    assert samples[("problems",)] == 0


def test_webhooks_and_programs_of_the_settings_run(tmp_path: Path) -> None:
    """From the datagram to the program's own file."""
    out = tmp_path / "out"
    program = tmp_path / "hook"
    program.write_text(f'#!/bin/sh\necho "$KDUMP_FENCE_NODE $KDUMP_FENCE_STATE" >> {out}\n')
    program.chmod(0o755)
    settings = (
        f"[node.n1]\naddresses = ['127.0.0.1']\n[[program]]\nname = 'p'\nargv = [{json.dumps(str(program))}]"
    )
    with Fence(tmp_path, settings) as fence:
        fence.send(LITTLE)
        fence.until(lambda: out.exists() and out.read_text() == "n1 dumping\n")


def test_a_damaged_journal_is_said_in_healthz(tmp_path: Path) -> None:
    """The daemon runs, and somebody looks."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite").write_bytes(b"damage" * 1000)
    with Fence(tmp_path) as fence:
        view = fence.get("/healthz")
        assert (view["ok"], "was damaged" in view["problems"][0]) == (False, True)
