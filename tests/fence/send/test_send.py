"""fence_kdump_send as a program: beside the C sender, and to the C agent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fence.agent.holder import holder_of
from fence.message import LITTLE, Phase, decode_untrusted
from tests.rig.c_pair import C_AGENT, C_SENDER, WHY_NOT

OURS = str(Path(sys.executable).with_name("fence_kdump_send"))
needs_c = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def run(*words: str | int, program: str = OURS) -> tuple[int, str, str]:
    done = subprocess.run(
        [program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.returncode, done.stdout, done.stderr.replace(program, "send")


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A socket for what is sent, IPv4 and IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind(("::", 0))
        opened.settimeout(20)
        yield opened


def port_of(receiver: socket.socket) -> int:
    return int(receiver.getsockname()[1])


def received(receiver: socket.socket) -> list[tuple[str, bytes]]:
    """All that has come, with the address it came to (loopback answers from where it was sent to)."""
    receiver.settimeout(0)
    found = []
    try:
        while True:
            data, origin = receiver.recvfrom(2048)
            found.append((origin[0].removeprefix("::ffff:"), data))
    except BlockingIOError:
        return found


@needs_c
@pytest.mark.parametrize(
    "words",
    [[], ["-x"], ["-i", "0", "a"], ["-c", "-1", "a"], ["-c", "x1", "-i", "-1", "a"], ["-p", "0", "a"],
     ["-f", "x", "a"], ["-c", "1"], ["-h"], ["-V"], ["-c", "1", "no-such-host.invalid"],
     ["-c", "1", "-v2", "no-such-host.invalid"], ["-c", "1", "-v", "no-such-host.invalid"],
     ["-f", "ipv6", "-c", "1", "-v2", "127.0.0.1"], ["-c", "1", "-p", "9", "::1"]],
)  # fmt: skip
def test_same_exit_status_and_errors_as_the_c_sender(words: list[str]) -> None:
    """A drop-in at the three paths where distributions put it."""
    theirs, ours = run(*words, program=C_SENDER), run(*words)
    assert theirs[2] == ours[2]
    assert theirs[0] == ours[0]
    assert theirs[1].startswith("Usage") == ours[1].startswith("Usage")


@needs_c
def test_same_datagrams_in_the_same_time_as_the_c_sender(receiver: socket.socket) -> None:
    """-c 2 -i 1 to two nodes, and what -v says of it."""
    words: list[str | int] = ["-c", 2, "-i", 1, "-v", "-p", port_of(receiver), "127.0.0.1", "::1"]
    seen = []
    for program in (C_SENDER, OURS):
        begin = time.monotonic()
        status, out, err = run(*words, program=program)
        assert time.monotonic() - begin >= 1
        said = sorted(line for line in out.splitlines() if "message sent" in line)
        seen.append((status, said, err, sorted(received(receiver))))
    assert seen[0] == seen[1]
    assert seen[1][3] == [("127.0.0.1", LITTLE)] * 2 + [("::1", LITTLE)] * 2


@needs_c
@pytest.mark.parametrize("words", [[], ["--phase=saved"], ["--progress=1/2", "--node", "n1"], ["--key"]])
def test_the_c_agent_takes_every_message_of_ours(words: list[str], tmp_path: Path) -> None:
    """Bare, extended and signed."""
    if words == ["--key"]:
        key = tmp_path / "key"
        key.write_text("ab" * 32)
        words = [f"--key={key}"]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([C_AGENT, "-n", "127.0.0.1", "-p", str(port), "-t", "20"]) as agent:
        deadline = time.monotonic() + 20
        while f"pid {agent.pid}" not in str(holder_of(port)):  # it buffers what it prints
            assert time.monotonic() < deadline
        assert run("-c", 1, "-p", port, *words, "127.0.0.1")[0] == 0
        assert agent.wait(20) == 0


def test_every_address_of_a_name_is_told(receiver: socket.socket) -> None:
    """The C sender takes the first one only."""
    found = {entry[4][0] for entry in socket.getaddrinfo("localhost", 0, type=socket.SOCK_DGRAM)}
    status, out, _ = run("-c", 1, "-v", "-p", port_of(receiver), "localhost")
    assert status == 0
    assert {address for address, _ in received(receiver)} == found
    assert out.count("message sent") == len(found)


def test_a_name_that_does_not_resolve_holds_up_nobody(receiver: socket.socket) -> None:
    """It is tried again while the others are told."""
    words: list[str | int] = [
        "-c",
        2,
        "-i",
        1,
        "-v",
        "-p",
        port_of(receiver),
        "no-such-host.invalid",
        "127.0.0.1",
    ]
    status, _, err = run(*words)
    assert status == 0
    assert len(received(receiver)) == 2
    assert err.count("[error]: failed to get node 'no-such-host.invalid'") >= 1


def test_sent_for_ever_until_killed(receiver: socket.socket) -> None:
    """As RHEL starts it, in the background until the reboot; the sequence grows from beat to beat."""
    sender = subprocess.Popen(
        [OURS, "-i", "1", "-p", str(port_of(receiver)), "--phase", "dumping", "127.0.0.1"]
    )
    try:
        messages = [decode_untrusted(receiver.recv(2048)) for _ in range(3)]
    finally:
        sender.terminate()
        assert sender.wait(20) == -15
    sequences = [message.sequence or 0 for message in messages]
    assert sequences == sorted(set(sequences))
    assert {message.phase for message in messages} == {Phase.DUMPING}
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    assert {message.session for message in messages} == {bytes.fromhex(boot)}
    assert abs((messages[0].time or 0) / 1000 - time.time()) < 60


def test_a_drill_is_sent_once(receiver: socket.socket) -> None:
    """--test needs no -c 1 to end."""
    assert run("--test", "-p", port_of(receiver), "--node", "n1", "127.0.0.1")[0] == 0
    (_, data), *others = received(receiver)
    assert decode_untrusted(data).drill
    assert not others


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--phase", "idle"], "invalid phase 'idle': started, dumping, saved or failed"),
        (["--progress", "half"], "invalid progress 'half'"),
        (["--node", "a b"], "invalid node 'a b'"),
        (["--key", "/nonexistent/key"], "invalid key '/nonexistent/key': No such file or directory"),
    ],
)
def test_wrong_new_flags_are_said(words: list[str], text: str) -> None:
    """One line and exit status 1, as for the old ones."""
    status, out, err = run(*words, "127.0.0.1")
    assert (status, out) == (1, "")
    assert err.startswith(f"[error]: {text}")
    assert err.count("\n") == 1
