"""The agent and the real kdump-fence, heard from by each of our senders and the C one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.c_pair import C_SENDER

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent

Start = Callable[..., "Agent"]
BIN = Path(sys.executable).parent
SHELL_SENDER = Path(__file__).parents[3] / "sender" / "capture" / "fence_notify.sh"
SETTINGS = """
listen = ["127.0.0.1:0"]
[node.n1]
addresses = ["127.0.0.1"]
[node.n2]
addresses = ["127.0.0.4"]
[node.n3]
id = "web-3"
addresses = ["127.0.0.6"]
"""
# One node for each sender: what it signs proves nothing of the others'.
SIGNED = """
[node.by-{sender}]
keys = ["{key}"]
off_grade = "signed"
"""
SENDERS = {
    "python": [str(BIN / "fence_kdump_send")],
    "dash": ["dash", str(SHELL_SENDER)],
    "busybox": ["busybox", "sh", str(SHELL_SENDER)],
    "bash": ["bash", str(SHELL_SENDER)],
}


def key_of(sender: str) -> str:
    return sender.encode().hex().ljust(64, "0")


@dataclass
class Serving:
    """A running kdump-fence."""

    socket: str
    port: str


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """kdump-fence with four nodes, of which n3 has to sign."""
    folder = tmp_path_factory.mktemp("fence")
    config, path = folder / "fence.toml", str(folder / "api.sock")
    signing = "".join(SIGNED.format(sender=sender, key=key_of(sender)) for sender in SENDERS)
    config.write_text(SETTINGS + signing)
    config.chmod(0o600)
    words = ["serve", "--config", config, "--socket", path, "--state-dir", folder / "state", "--quiet"]
    with subprocess.Popen(
        [BIN / "kdump-fence", *map(str, words)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        yield Serving(path, ready["udp"].rpartition(":")[2])
        process.terminate()


def test_a_message_before_the_question_is_kept(start: Start, serving: Serving) -> None:
    """The C agent would never hear of it."""
    subprocess.run([C_SENDER, "-p", serving.port, "-c", "1", "127.0.0.1"], check=True)
    agent = start(stdin=f"nodename=n1\naction=off\nsocket={serving.socket}\n")
    assert agent.end()[0] == 0
    assert start("-o", "status", "-n", "n1", "--socket", serving.socket).end() == (2, "Status: OFF\n", "")


def test_a_message_during_the_question_is_the_answer(start: Start, serving: Serving) -> None:
    """Two questions at once for one node, and one for another, which stays without."""
    silent = start("-n", "n3", "-t", "2", "--socket", serving.socket)
    agents = [start("-n", "n1,127.0.0.1", "--socket", serving.socket) for _ in range(2)]
    for agent in (silent, *agents):
        agent.heard("waiting")
    subprocess.run([BIN / "fence_kdump_send", "-p", serving.port, "-c", "1", "127.0.0.1"], check=True)
    assert [agent.end()[0] for agent in agents] == [0, 0]
    status, out, _ = silent.end()
    assert status == 1
    assert "nothing heard from n3" in out


@pytest.mark.parametrize("sender", SENDERS)
def test_a_signature_is_accepted(start: Start, serving: Serving, tmp_path: Path, sender: str) -> None:
    """The node has no address at all: its key alone says who it is."""
    if not shutil.which(SENDERS[sender][0]):
        pytest.skip(f"no {SENDERS[sender][0]} here")
    key = tmp_path / "key"
    key.write_text(key_of(sender) + "\n")
    node = f"by-{sender}"
    words = ["--node", node, "--key", str(key), "--phase", "dumping", "-p", serving.port, "-c1", "127.0.0.1"]
    subprocess.run([*SENDERS[sender], *words], check=True)
    begin = time.monotonic()
    status, out, err = start("--plug", node, "--grade", "signed", "--socket", serving.socket).end()
    assert (status, err) == (0, "")
    assert f"received valid message from '{node}': signed message" in out
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("sender", SENDERS)
def test_a_drill_is_seen_and_is_no_evidence(
    start: Start, serving: Serving, tmp_path: Path, sender: str
) -> None:
    """Whoever tests the way of the message fences nobody."""
    if not shutil.which(SENDERS[sender][0]):
        pytest.skip(f"no {SENDERS[sender][0]} here")
    subprocess.run(
        [*SENDERS[sender], "--test", "--node", "n2", "-p", serving.port, "-c", "1", "127.0.0.1"], check=True
    )
    assert start("-o", "status", "-n", "n2", "--socket", serving.socket).end() == (0, "Status: ON\n", "")


def test_list_and_monitor_of_the_real_one(start: Start, serving: Serving) -> None:
    """The answers have the form that the agent reads."""
    _, out, _ = start("-o", "list", "--socket", serving.socket).end()
    assert {"n1,", "n2,", "n3,web-3"} <= set(out.splitlines())
    assert start("-o", "monitor", "-n", "n3", "--socket", serving.socket).end() == (0, "", "")
    status, _, err = start("-o", "monitor", "-n", "no-such-host.invalid", "--socket", serving.socket).end()
    assert status == 1
    assert "no node 'no-such-host.invalid' is configured" in err
