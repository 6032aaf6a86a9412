"""Whether a server runs, told by a lock that the kernel drops with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from receiver import serving
from tests.rig.receiver import Receiver

HOLD = """
import os, sys
from pathlib import Path
from receiver.serving import Sign
sign = Sign(Path(sys.argv[1]))
sign.tell({"ssh": "127.0.0.1:22"})
if os.fork() == 0:  # a worker
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
os._exit(9)
"""


def test_where_nobody_ever_served_none_runs(tmp_path: Path) -> None:
    assert serving.running(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_server_counts_as_long_as_one_of_its_processes_lives(tmp_path: Path) -> None:
    """A supervisor that was killed leaves workers that still take dumps."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        process.wait(30)  # the parent; its fork still reads
        found = serving.running(tmp_path)
        assert found == serving.Serving(process.pid, {"ssh": "127.0.0.1:22"})
        assert serving.running(tmp_path) == found, "asking changes nothing"
        process.communicate()
    assert process.returncode == 9
    assert serving.running(tmp_path) is None


def test_a_second_server_may_start_while_the_first_ends(tmp_path: Path) -> None:
    """As at a restart; the one that came last is told of."""
    first, second = serving.Sign(tmp_path), serving.Sign(tmp_path)
    first.tell({"ssh": "a"})
    second.tell({"ssh": "b:1"})
    assert serving.running(tmp_path) == serving.Serving(os.getpid(), {"ssh": "b:1"})


def test_a_server_that_still_writes_its_note_is_starting(tmp_path: Path) -> None:
    serving.Sign(tmp_path)
    (tmp_path / serving.NAME).write_bytes(b'{"pid": 4')
    assert serving.running(tmp_path) == serving.Serving(0)


def test_serve_shows_itself(tmp_path: Path) -> None:
    """While it runs, and not after it was killed."""
    with Receiver(tmp_path) as receiver:
        found = serving.running(receiver.root / ".state")
        assert found is not None
        assert found.pid == receiver.pid
        assert found.addresses["ssh"] == f"127.0.0.1:{receiver.port}"
        receiver.kill()
        assert serving.running(receiver.root / ".state") is None
