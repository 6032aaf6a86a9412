"""``off`` with daemons: any fresh yes wins, and no daemon holds up another."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent, Scripted

Start = Callable[..., "Agent"]
Daemons = Callable[..., "Scripted"]

YES = (200, {"node": "n1", "off": True, "grade": "udp", "reason": "message 2.1 s ago, 3 beats"})
NO = (200, {"node": "n1", "off": False, "grade": "none", "reason": "no message from n1 (192.0.2.10)"})
OFF = "/v1/nodes/n1/off"


def after(seconds: float, answer: tuple[int, object]) -> Callable[[str], tuple[int, object]]:
    def wait(_: str) -> tuple[int, object]:
        time.sleep(seconds)
        return answer

    return wait


def test_a_yes_is_success_at_once(start: Start, daemon: Daemons) -> None:
    """The message came before the question: the cluster does not wait."""
    one = daemon()
    one.answers[OFF] = YES
    begin = time.monotonic()
    status, out, err = start(stdin=f"nodename=n1\naction=off\nsocket={one.where}\n").end()
    assert (status, err) == (0, "")
    assert time.monotonic() - begin < 15
    assert f"received valid message from 'n1': message 2.1 s ago, 3 beats ({one.where})" in out


def test_a_no_is_failure_and_says_why(start: Start, daemon: Daemons) -> None:
    """The reason is in Pacemaker's log, the daemon's question is asked for as long as there is time."""
    one = daemon()
    one.answers[OFF] = lambda path: after(float(path.partition("timeout=")[2]), NO)(path)
    begin = time.monotonic()
    status, out, _ = start("-n", "n1", "-t", 1, "--socket", one.where).end()
    assert status == 1
    assert "no message from n1 (192.0.2.10)" in out
    assert out.endswith("[debug]: timeout after 1 seconds\n")
    assert 0.7 < time.monotonic() - begin < 30
    assert len(one.asked) == 1


def test_a_dead_daemon_does_not_block_the_other(start: Start, daemon: Daemons, tmp_path: Path) -> None:
    """One socket is not there, one swallows the question, one answers after a second: success then."""
    silent = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as swallows:
        swallows.bind(str(silent))
        swallows.listen()
        alive = daemon()
        alive.answers[OFF] = after(0.5, YES)
        begin = time.monotonic()
        sockets = f"{tmp_path}/none.sock,{silent},{alive.where}"
        status, out, err = start(stdin=f"port=n1\nsocket={sockets}\ntimeout=20\n").end()
    assert status == 0
    assert time.monotonic() - begin < 15
    assert f"({alive.where})" in out
    assert f"kdump-fence does not answer on {tmp_path}/none.sock (No such file or directory)" in err


def test_a_no_of_one_does_not_end_the_question_to_the_other(start: Start, daemon: Daemons) -> None:
    """The first daemon does not know the node, the second one heard it."""
    ignorant, knowing = daemon(), daemon()
    knowing.answers[OFF] = after(0.3, YES)
    status, _, err = start("-n", "n1", "--socket", ignorant.where, "--socket", knowing.where).end()
    assert status == 0
    assert f"{ignorant.where}: no such node" in err


def test_a_node_that_no_daemon_knows_fails_at_once(start: Start, daemon: Daemons) -> None:
    """The next level of the topology must not wait for an answer that cannot come."""
    one = daemon()
    begin = time.monotonic()
    status, _, err = start("-n", "n7", "--socket", one.where).end()
    assert status == 1
    assert "no such node" in err
    assert time.monotonic() - begin < 15


def test_a_daemon_that_comes_back_is_asked_again(start: Start, daemon: Daemons, tmp_path: Path) -> None:
    """A restart of the daemon in the middle of the question costs half a second, not the node."""
    agent = start("-n", "n1", "--socket", tmp_path / "daemon0.sock")
    assert agent.process.stderr
    assert "does not answer" in agent.process.stderr.readline()
    daemon().answers[OFF] = YES
    assert agent.end()[0] == 0


def test_a_daemon_that_stops_in_the_middle_is_asked_again(start: Start, daemon: Daemons) -> None:
    """503, then garbage, then a closed connection, then a no that is too early, then yes."""
    one = daemon()
    turns = iter(
        [(503, {"error": "the daemon is stopping"}), (200, b"<html>"), (200, [1]), NO, (200, {"off": 1}), YES]
    )
    one.answers[OFF] = lambda _: next(turns)
    status, _, err = start("-n", "n1", "--socket", one.where).end()
    assert status == 0
    assert err.count("does not answer") == 1
    assert "the daemon is stopping" in err


def test_only_true_is_a_yes(start: Start, daemon: Daemons) -> None:
    """A daemon that answers anything else than ``"off": true`` never gets a node taken for fenced."""
    contents: tuple[object, ...] = (
        {"off": "true"},
        {"off": 1},
        {},
        {"off": None},
        [True],
        {"error": "x", "off": True},
        b"true",
    )
    agents = []
    for content in contents:
        one = daemon()
        one.answers[OFF] = (200, content)
        agents.append(start("-n", "n1", "-t", 1, "--socket", one.where))
    assert [agent.end()[0] for agent in agents] == [1] * len(contents)


def test_the_mapped_name_goes_before_the_name_in_the_cluster(start: Start, daemon: Daemons) -> None:
    """Pacemaker gives nodename and the plug of pcmk_host_map; the former helps where the plug is unknown."""
    one = daemon()
    one.answers["/v1/nodes/kdump-n1/off"] = one.answers[OFF] = YES
    for keys in ("plug=kdump-n1\nport=x", "port=kdump-n1", "plug='kdump-n1'", "port=unknown"):
        assert start(stdin=f"nodename=n1\n{keys}\nsocket={one.where}\n").end()[0] == 0
    asked = [path.split("/")[3] for path in one.asked]
    assert asked == ["kdump-n1", "kdump-n1", "kdump-n1", "unknown", "n1"]


def test_a_grade_is_passed_on_and_needs_a_daemon(start: Start, daemon: Daemons) -> None:
    """Who asks for signed evidence never gets less by leaving out the socket."""
    one = daemon()
    one.answers[OFF] = YES
    assert start(stdin=f"nodename=n1\ngrade=signed\nsocket={one.where}\n").end()[0] == 0
    assert one.asked[0].endswith("&grade=signed")
    status, _, err = start("-n", "127.0.0.1", "--grade=signed", "-t", 1).end()
    assert (status, err) == (1, "[error]: grade 'signed' is known to a daemon only: give socket or url\n")


def test_delay_comes_before_the_question(start: Start, daemon: Daemons) -> None:
    """A delay breaks the tie of two nodes that fence each other."""
    one = daemon()
    one.answers[OFF] = YES
    begin = time.monotonic()
    assert start(stdin=f"nodename=n1\ndelay=1\nsocket={one.where}\n").end()[0] == 0
    assert time.monotonic() - begin >= 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    crt, key = folder / "crt.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-out", crt, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    return crt, key


def test_a_daemon_behind_tls_is_asked_with_the_token(
    start: Start, daemon: Daemons, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """url=https://…, its certificate checked against ca_file, the token sent to it."""
    crt, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    one = daemon(
        wrap=lambda opened: context.wrap_socket(opened, server_side=True, do_handshake_on_connect=False)
    )
    one.answers[OFF] = YES
    token = tmp_path / "token"
    token.write_text("t0k3n\n")
    stdin = f"nodename=n1\nurl={one.where}\ntoken_file={token}\n"
    assert start(stdin=f"{stdin}ca_file={crt}\n").end()[0] == 0
    assert one.tokens == ["Bearer t0k3n"]
    status, _, err = start(stdin=f"{stdin}timeout=1\n").end()
    assert status == 1
    assert "certificate verify failed" in err
    assert len(one.tokens) == 1


def test_a_token_never_goes_out_in_the_clear(start: Start, tmp_path: Path) -> None:
    """http to another host with a token is refused before anything is sent."""
    token = tmp_path / "token"
    token.write_text("t0k3n\n")
    status, _, err = start("-n", "n1", "--url", "http://192.0.2.1:7443", "--token-file", token).end()
    assert status == 1
    assert "http would send the token for everybody to read" in err


def test_many_questions_at_once(start: Start, daemon: Daemons) -> None:
    """Agents do not get in each other's way as those of C do over the one port."""
    one = daemon()
    gate = threading.Event()

    def when_open(_: str) -> tuple[int, object]:
        gate.wait(20)
        return YES

    one.answers[OFF] = when_open
    agents = [start("-n", "n1", "--socket", one.where) for _ in range(8)]
    for agent in agents:
        agent.heard("waiting for message")
    gate.set()
    assert [agent.end()[0] for agent in agents] == [0] * 8
