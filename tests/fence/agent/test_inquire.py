"""list, status, monitor and validate-all: what Pacemaker asks before and besides fencing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent, Scripted

Start = Callable[..., "Agent"]
Daemons = Callable[..., "Scripted"]

N1 = {"name": "n1", "id": "n1", "source": "config", "off": True}
N2 = {"name": "n2", "id": "web-2", "source": "cli", "off": False}
ASKED = {"name": "n9", "id": "n9", "source": "asked", "off": False}
WELL = {"ok": True, "problems": [], "listening": [{"address": "0.0.0.0", "port": 7410}]}


def test_list_names_what_the_daemons_are_configured_with(start: Start, daemon: Daemons) -> None:
    """dynamic-list then works, and pcmk_host_list is not needed; names merely asked for are nobody's."""
    one, other = daemon(), daemon()
    one.answers["/v1/nodes"] = (200, {"nodes": [N2, ASKED]})
    other.answers["/v1/nodes"] = (200, {"nodes": [N1, N2]})
    both = f"{one.where},{other.where}"
    assert start("-o", "list", "--socket", both).end() == (0, "n1,\nn2,web-2\n", "")
    assert start("-o", "list-status", "--socket", both).end() == (0, "n1,,OFF\nn2,web-2,ON\n", "")


@pytest.mark.parametrize(
    "answer", [{"nodes": []}, {"nodes": [ASKED]}, {"nodes": 5}, {}, {"nodes": [1, {}, {"name": 5}]}]
)
def test_an_empty_list_is_a_failure(start: Start, daemon: Daemons, answer: object) -> None:
    """Pacemaker would take it for: this device can fence nobody. After a failure it asks for the status."""
    one = daemon()
    one.answers["/v1/nodes"] = (200, answer)
    status, out, err = start("-o", "list", "--socket", one.where).end()
    assert (status, out) == (1, "")
    assert err == "[error]: no daemon that answered is configured with a node\n"


def test_status_is_on_off_or_unknown(start: Start, daemon: Daemons) -> None:
    """0, 2 and 1 (FenceAgentAPI.md); any daemon's off wins."""
    one, other = daemon(), daemon()
    one.answers["/v1/nodes/n1"] = (200, N1 | {"off": False})
    other.answers["/v1/nodes/n1"] = (200, N1 | {"off": True})
    both = ["--socket", one.where, "--socket", other.where]
    assert start("-o", "status", "-n", "n1", *both).end() == (2, "Status: OFF\n", "")
    assert start("-o", "status", "-n", "x,n1", *both[:2]).end() == (0, "Status: ON\n", "")
    status, out, err = start("-o", "status", "-n", "n7", *both).end()
    assert (status, out, err.count("no such node")) == (1, "", 2)
    assert start("-o", "status", *both).end()[2] == "[error]: action 'status' requires nodename\n"


def test_status_without_a_daemon_knows_who_resolves(start: Start) -> None:
    """Pacemaker then lets the device fence the node, as with the C agent."""
    assert start("-o", "status", "-n", "127.0.0.1").end() == (0, "Status: ON\n", "")
    assert start("-o", "status", "-n", "no-such-host.invalid").end()[0] == 1


def test_monitor_wants_one_healthy_daemon_that_knows_the_node(start: Start, daemon: Daemons) -> None:
    """Each fault is said; a second daemon in good health is enough, for that is what it is there for."""
    ill, well = daemon(), daemon()
    well.answers["/healthz"] = (200, WELL)
    words = ["-o", "monitor", "--socket", ill.where]
    faults: list[tuple[int, object, str]] = [
        (503, WELL | {"ok": False, "problems": ["12 datagrams were dropped"]}, "12 datagrams were dropped"),
        (200, WELL | {"listening": []}, "it listens on no UDP port"),
        (200, WELL | {"ok": False}, "it is not well, and does not say why"),
        (503, {"error": "stopping"}, "does not answer"),
        (404, {"error": "no such route"}, "no such route"),
        (200, b"<html>", "does not answer"),
    ]
    for status, answer, text in faults:
        ill.answers["/healthz"] = (status, answer)
        code, _, err = start(*words).end()
        assert (code, text in err) == (1, True), err
        code, _, err = start(*words, "--socket", well.where).end()
        assert (code, text in err) == (0, True), err
    assert start("-o", "monitor", "--socket", well.where).end() == (0, "", "")


def test_monitor_of_a_node_wants_it_known(start: Start, daemon: Daemons) -> None:
    """A device whose node the daemon does not know would find out only when it is too late."""
    one = daemon()
    one.answers |= {"/healthz": (200, WELL), "/v1/nodes/n1": (200, N1)}
    assert start("-o", "monitor", "-n", "n1", "--socket", one.where).end() == (0, "", "")
    assert start("-o", "monitor", "-n", "n7", "--socket", one.where).end()[0] == 1


def test_a_hung_daemon_does_not_use_up_the_time(start: Start, daemon: Daemons, tmp_path: Path) -> None:
    """Five seconds for the one that says nothing, the other one's answer counts."""
    well = daemon()
    well.answers["/healthz"] = (200, WELL)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "hung"))
        hung.listen()
        begin = time.monotonic()
        assert start("-o", "monitor", "-t", 2, "--socket", f"{tmp_path}/hung,{well.where}").end()[0] == 0
    assert time.monotonic() - begin < 30


def test_monitor_without_a_daemon_wants_the_port_and_the_names(start: Start, free_port: int) -> None:
    """A port held by an agent that waits is no fault; by another program for good it is."""
    monitor = ["-o", "monitor", "-p", free_port]
    assert start(*monitor, "-n", "127.0.0.1,::1").end() == (0, "", "")
    assert start(*monitor, "-n", "no-such-host.invalid").end()[0] == 1
    waiting = start("-n", "127.0.0.1", "-p", free_port)
    waiting.heard("waiting")
    status, out, err = start(*monitor).end()
    assert (status, err) == (0, "")
    assert f"is held by fence_kdump (pid {waiting.process.pid})" in out
    waiting.process.terminate()
    waiting.end()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("", free_port))
        status, _, err = start(*monitor).end()
    assert status == 1
    assert f"UDP port {free_port} is held by " in err


def test_validate_all_finds_what_cannot_work(start: Start, tmp_path: Path, daemon: Daemons) -> None:
    """Each with its reason; what may yet come (a daemon's socket) is said and is no failure."""
    plain = tmp_path / "plain"
    plain.write_text("two words\n")
    wrong = {
        f"socket={plain}": f"invalid socket '{plain}': it is no socket",
        "socket=relative/path": "it has to be an absolute path",
        "socket=/" + "x" * 107: "at most 107 bytes",
        "url=collector": "it has to be like https://",
        f"url=https://a\ntoken_file={plain}": "its first line is no token",
        f"url=https://a\ntoken_file={tmp_path}/none": "No such file or directory",
        f"url=https://a\nca_file={tmp_path}/none": "it cannot be read",
        "grade=signed": "is known to a daemon only",
        "nodename=no-such-host.invalid": "failed to get node",
    }
    for lines, text in wrong.items():
        status, _, err = start(stdin=f"action=validate-all\n{lines}\n").end()
        assert (status, text in err) == (1, True), (lines, err)
    invented = start(
        stdin="action=validate-all\nnodename=node1.invalid\n", PCMK_service="stonith_admin"
    ).end()
    assert invented == (0, "", "[error]: failed to get node 'node1.invalid'\n")
    right = [
        "",
        "nodename=127.0.0.1",
        f"socket={daemon().where}\ngrade=signed\nnodename=no-such-host.invalid",
        "url=https://a,https://[2001:db8::1]:7443/kdump/\ntimeout=5",
    ]
    for lines in right:
        assert start(stdin=f"action=validate-all\n{lines}\n").end() == (0, "", "")
    status, _, err = start(stdin=f"action=validate-all\nsocket={tmp_path}/later\n").end()
    assert status == 0
    assert "cannot be seen yet" in err
