"""The agent called as Pacemaker 2.1.5 calls it; tests/e2e/pacemaker does it with Pacemaker itself.

Lines and environment were written down by a wrapper around the agent in a running cluster.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.rig.c_pair import C_SENDER

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent, Scripted

Start = Callable[..., "Agent"]
FENCED = {"PCMK_service": "pacemaker-fenced", "OCF_OUTPUT_FORMAT": "log", "HA_logfacility": "none"}


def test_a_device_is_registered_monitored_and_fences(start: Start, daemon: Callable[..., Scripted]) -> None:
    """metadata, list, monitor, off: each on stdin, each with exit status 0, nothing on stderr."""
    one = daemon()
    node = {"name": "n1", "id": "n1", "source": "config", "off": True}
    one.answers |= {
        "/healthz": (200, {"ok": True, "problems": [], "listening": [{"port": 7410}]}),
        "/v1/nodes": (200, {"nodes": [node]}),
        "/v1/nodes/n1/off": (200, {"node": "n1", "off": True, "reason": "message 0.5 s ago"}),
    }
    device = f"pcmk_reboot_action=off\nsocket={one.where}\ntimeout=20\n"
    said = {}
    for action, target in {
        "metadata": "",
        "list": "",
        "monitor": "",
        "off": "nodename=n1\nport=n1\nnodeid=2\n",
    }.items():
        status, said[action], err = start(stdin=f"{target}action={action}\n{device}", **FENCED).end()
        assert (action, status, err) == (action, 0, "")
    assert "<actions>" in said["metadata"]
    assert said["list"] == "n1,\n"


@pytest.mark.parametrize("sent", [False, True])
def test_a_node_without_a_daemon(start: Start, free_port: int, sent: bool) -> None:
    """As the C agent is set up today, not one line of the device changed."""
    lines = (
        f"action=off\nnodename=localhost\nport=127.0.0.1\nipport={free_port}\ntimeout={20 if sent else 1}\n"
    )
    agent = start(stdin=lines + "verbose=1\n", **FENCED)
    agent.heard("waiting for message from '127.0.0.1'")
    if sent:
        subprocess.run([C_SENDER, "-p", str(free_port), "-c", "1", "127.0.0.1"], check=True)
    assert agent.end()[0] == (0 if sent else 1)


def test_two_nodes_of_one_moment_without_a_daemon(start: Start, free_port: int) -> None:
    """Both agents start at once, each node repeats its message: both are fenced, none is power-cycled."""
    agents = [
        start(stdin=f"action=off\nnodename={node}\nport={node}\nipport={free_port}\n", **FENCED)
        for node in ("127.0.0.3", "127.0.0.4")
    ]
    with beating(free_port, "127.0.0.3"), beating(free_port, "127.0.0.4"):
        assert [agent.end()[0] for agent in agents] == [0, 0]


@contextmanager
def beating(port: int, source: str) -> Iterator[None]:
    """A node that says every tenth of a second that it is dumping."""
    over = threading.Event()

    def beat() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((source, 0))
            while not over.wait(0.1):
                sender.sendto(struct.pack("<II", 0x1B302A40, 1), ("127.0.0.1", port))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
