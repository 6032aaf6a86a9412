"""The capture image's shell sender and the daemon's decoder: what the one says the other understands."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fence.message import LITTLE, Message, Phase, Progress, decode_untrusted, encode, key_id
from tests.rig.c_pair import C_SENDER

SCRIPT = Path(__file__).parents[2] / "sender" / "capture" / "fence_notify.sh"
SHELLS = [["dash"], ["busybox", "sh"], ["bash"]]
KEY = bytes(range(32))
BOOT = "00112233-4455-6677-8899-aabbccddeeff"

pytestmark = pytest.mark.parametrize("shell", SHELLS, ids=" ".join)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind(("::", 0))
        opened.settimeout(10)
        yield opened


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """What a capture kernel says of itself."""
    folder = tmp_path / "proc" / "sys" / "kernel"
    (folder / "random").mkdir(parents=True)
    (folder / "random" / "boot_id").write_text(f"{BOOT}\n")
    (folder / "hostname").write_text("db1\n")
    (tmp_path / "proc" / "uptime").write_text("12.08 9.99\n")
    return tmp_path / "proc"


def run(
    shell: list[str], receiver: socket.socket, *words: str, **environment: object
) -> subprocess.CompletedProcess[str]:
    if not shutil.which(shell[0]):
        pytest.skip(f"no {shell[0]} here")
    return subprocess.run(
        [*shell, str(SCRIPT), "-p", str(receiver.getsockname()[1]), *words],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )


def datagrams(receiver: socket.socket) -> list[bytes]:
    receiver.settimeout(0)
    found = []
    try:
        while True:
            found.append(receiver.recv(2048))
    except BlockingIOError:
        return found


def test_bare_it_is_the_c_senders_message(shell: list[str], receiver: socket.socket) -> None:
    """Every receiver there is understands it; all nodes are told, over both families."""
    done = run(shell, receiver, "-c", "1", "-v", "127.0.0.1", "::1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("message sent to node") == 2
    assert datagrams(receiver) == [LITTLE, LITTLE]


def test_all_fields_and_the_signature(
    shell: list[str], receiver: socket.socket, proc: Path, tmp_path: Path
) -> None:
    """Node, session, sequence, phase, progress, time, and an HMAC that the daemon accepts."""
    key = tmp_path / "key"
    key.write_text(f"# of db1\n{KEY.hex()}   # the first one counts\n{'ff' * 32}\n")
    words = ["-c", "1", "--phase", "dumping", "--progress=10/2570", "--key", str(key), "127.0.0.1"]
    done = run(shell, receiver, *words, FENCE_PROC=proc)
    assert (done.returncode, done.stderr) == (0, "")
    (data,) = datagrams(receiver)  # 10 is a line end: bash would have made two datagrams of it
    message = decode_untrusted(data)
    assert message.flaw is None
    assert message.signature
    assert message.signature.key_id == key_id(KEY)
    assert message.signature.made_with(KEY)
    assert abs((message.time or 0) / 1000 - time.time()) < 60
    expected = Message(
        node="db1",
        session=bytes.fromhex(BOOT.replace("-", "")),
        sequence=12080,
        phase=Phase.DUMPING,
        progress=Progress(10, 2570),
        time=message.time,
    )
    assert data == encode(expected, KEY)


def test_the_environment_of_the_capture_script_is_enough(
    shell: list[str], receiver: socket.socket, proc: Path, tmp_path: Path
) -> None:
    """FENCE_KEY and FENCE_NODE, with the arguments of kdump.conf's fence_kdump_args as they are."""
    key = tmp_path / "key"
    key.write_text(KEY.hex())
    done = run(
        shell,
        receiver,
        "-c1",
        "-i",
        "5",
        "127.0.0.1",
        FENCE_PROC=proc,
        FENCE_KEY=key,
        FENCE_NODE="id:7.x_y-z",
    )
    assert (done.returncode, done.stderr) == (0, "")
    message = decode_untrusted(datagrams(receiver)[0])
    assert message.node == "id:7.x_y-z"
    assert message.signature
    assert message.signature.made_with(KEY)


def test_a_drill_is_taken_for_no_crash(shell: list[str], receiver: socket.socket) -> None:
    """--test has a header of its own."""
    assert run(shell, receiver, "--test", "-c", "1", "--node", "n1", "127.0.0.1").returncode == 0
    (data,) = datagrams(receiver)
    assert not data.startswith(LITTLE)
    assert decode_untrusted(data).drill


def test_beats_go_on_and_grow(shell: list[str], receiver: socket.socket) -> None:
    """As with fence_kdump_send: -i 2 at 0, 1 and 2 seconds, -i 1 at 0 and 1, each with a later sequence."""
    interval = 2 if shell == ["dash"] else 1
    begin = time.monotonic()
    done = run(shell, receiver, "-c2", f"-i{interval}", "--phase", "started", "--node", "n1", "127.0.0.1")
    assert done.returncode == 0
    assert time.monotonic() - begin >= interval
    sequences = [decode_untrusted(data).sequence or 0 for data in datagrams(receiver)]
    assert len(sequences) == interval + 1
    assert sequences == sorted(set(sequences))


def test_without_bash_the_c_sender_takes_over(
    shell: list[str], receiver: socket.socket, tmp_path: Path
) -> None:
    """The bare message, and a line that says so; a drill is not sent, for it would be taken for a crash."""
    if shell == ["bash"]:
        return
    if not Path(C_SENDER).exists():
        pytest.skip("no C fence_kdump_send here (fence-agents)")
    for name in ("dd", "date", "sleep", "getent", "cat", shell[0]):
        os.symlink(str(shutil.which(name)), tmp_path / name)
    done = run(shell, receiver, "-c", "1", "127.0.0.1", PATH=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert datagrams(receiver) == [LITTLE]
    done = run(shell, receiver, "-c", "1", "--phase", "saved", "127.0.0.1", PATH=tmp_path)
    assert "sends no more than the bare message" in done.stderr
    assert datagrams(receiver) == [LITTLE]
    assert run(shell, receiver, "--test", "-c", "1", "127.0.0.1", PATH=tmp_path).returncode == 1
    assert datagrams(receiver) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no nodes are given"),
        (["-p", "0", "a"], "invalid ipport '0'"),
        (["-p", "x", "a"], "invalid ipport 'x'"),
        (["-c", "-1", "a"], "invalid count '-1'"),
        (["-i0", "a"], "invalid interval '0'"),
        (["-f", "ipx", "a"], "unsupported family 'ipx'"),
        (["-x", "a"], "unknown option '-x'"),
        (["a", "-i"], "option '-i' requires an argument"),
        (["--phase=idle", "a"], "invalid phase 'idle'"),
        (["--progress", "1/x", "a"], "invalid progress '1/x'"),
        (["--progress", "1/2/3", "a"], "invalid progress '1/2/3'"),
        (["--node", "a b", "a"], "invalid node 'a b'"),
        (["--node", "a" * 65, "a"], "invalid node"),
        (["--key", "/nonexistent", "a"], "cannot read the key in /nonexistent"),
        (["--key", "/dev/null", "a"], "is no key of 32 to 128 hexadecimal digits"),
    ],
)
def test_wrong_options_are_said(
    shell: list[str], receiver: socket.socket, words: list[str], text: str
) -> None:
    """One line, exit status 1, nothing sent."""
    done = run(shell, receiver, *words)
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.startswith("[error]: ")
    assert datagrams(receiver) == []


def test_nothing_sent_at_all_is_a_failure(shell: list[str], receiver: socket.socket) -> None:
    """A name that never resolves, a network that never comes up."""
    assert run(shell, receiver, "-c", "1", "no-such-host.invalid").returncode == 1


def test_shellcheck_is_content(shell: list[str]) -> None:
    """For the shell it is written in, and bash."""
    dialect = {"dash": "dash", "busybox": "sh", "bash": "bash"}[shell[0]]
    done = subprocess.run(["shellcheck", "-s", dialect, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
