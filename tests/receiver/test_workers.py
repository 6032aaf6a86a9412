"""The desk beside those that receive: it may die and hang, and no upload hears of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.rig.receiver import Client, Receiver


def children(pid: int) -> list[int]:
    """The processes that `pid` started, the oldest first."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]


def until(what: str, seconds: float = 60) -> Iterator[None]:
    """Over and over, for what tells nobody when it happens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)
    raise TimeoutError(what)


def answers(receiver: Receiver) -> bool:
    try:
        return httpx.get(f"{receiver.ready['web']}/healthz", trust_env=False, timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_killed_desk_comes_again_and_no_upload_hears_of_it(tmp_path: Path) -> None:
    """kill -9 of page and API: the workers stay the same, uploads go on, the address answers again."""
    with Receiver(tmp_path, web="127.0.0.1:0") as receiver:
        client = Client.enrolled(receiver, "web01")
        worker, desk = children(receiver.pid)
        os.kill(desk, signal.SIGKILL)
        assert client.ssh("dd bs=512 of='/c/h-1/README.txt'", stdin=b"hello\n").returncode == 0
        for _ in until("the desk comes again"):
            if answers(receiver):
                break
        now = children(receiver.pid)
        assert worker in now
        assert desk not in now
        assert "the desk ended with status -9" in receiver.log.read_text()
        os.kill(worker, signal.SIGKILL)
        for _ in until("the worker comes again"):
            if len(children(receiver.pid)) == 2 and worker not in children(receiver.pid):
                break
        assert client.ssh("df -P /var/crash").returncode == 0
        processes = children(receiver.pid)
        assert receiver.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def test_a_desk_that_hangs_holds_no_upload_up(tmp_path: Path) -> None:
    """SIGSTOP of page and API: hosts still send, and the stop ends it all the same."""
    with Receiver(tmp_path, web="127.0.0.1:0") as receiver:
        client = Client.enrolled(receiver, "web01")
        _, desk = children(receiver.pid)
        os.kill(desk, signal.SIGSTOP)
        assert client.ssh("dd bs=512 of='/c/h-1/README.txt'", stdin=b"hello\n").returncode == 0
        assert receiver.stop() == 0
        assert not Path(f"/proc/{desk}").exists()
