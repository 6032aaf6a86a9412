"""The supervisor of the serving processes, with jobs that do nothing but live, hang or die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAM = """
import json, os, sys, time
from receiver import workers
from receiver.workers import Job, Workers

workers.LOOK_SECONDS, workers.AGAIN_SECONDS, workers.SILENT_SECONDS = 0.05, 0.1, 1.0

def tell(**what):
    os.write(1, (json.dumps(what) + "\\n").encode())

def living(name):
    def run(ready, beat):
        tell(started=name, pid=os.getpid())
        ready()
        while True:
            beat()
            time.sleep(0.1)
    return run

def hanging(ready, beat):
    tell(started="hanging", pid=os.getpid())
    ready()
    time.sleep(600)

def failing(ready, beat):
    raise SystemExit("it cannot start")

def died(name, status):
    tell(died=name, status=status)

def supervise(*jobs):
    beats = 0
    def beat():
        nonlocal beats
        beats += 1
        tell(beats=beats)
    sys.exit(Workers(jobs, died).supervise(lambda: tell(ready=True), beat))
"""


class Supervised:
    """A supervisor, and what it and its children say."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def hear(self, key: str, value: object = None) -> dict[str, Any]:
        """The next line that says `key` (and `value`, if that is given)."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told: dict[str, Any] = json.loads(line)
            if key in told and value in (None, told[key]):
                return told
        raise AssertionError(f"it ended and never said {key} {value}")

    def rest(self) -> list[dict[str, Any]]:
        assert self.process.stdout is not None
        return [json.loads(line) for line in self.process.stdout]


@contextmanager
def supervising(jobs: str) -> Iterator[Supervised]:
    program = textwrap.dedent(PROGRAM) + f"supervise({jobs})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield Supervised(process)
    finally:
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def test_a_killed_worker_is_replaced_and_the_others_go_on() -> None:
    """kill -9 of one: what it received is lost with it, what the others receive is not."""
    with supervising("Job('a', living('a')), Job('b', living('b'))") as one:
        pids = {told["started"]: told["pid"] for told in (one.hear("started"), one.hear("started"))}
        one.hear("ready")
        os.kill(pids["a"], signal.SIGKILL)
        assert one.hear("died") == {"died": "a", "status": -9}
        assert one.hear("started")["started"] == "a"
        os.kill(pids["b"], 0)
        one.process.terminate()
        assert one.process.wait(30) == 0


def test_a_hanging_worker_ends_the_beat() -> None:
    """The service manager's watchdog then restarts all: one that hangs takes clients it never serves."""
    with supervising("Job('a', living('a')), Job('b', hanging)") as one:
        one.hear("ready")
        hung = one.hear("beats")["beats"]
        with pytest.raises(subprocess.TimeoutExpired):
            one.process.wait(3)
        one.process.terminate()
        assert one.process.wait(30) == 0
        beats = [told["beats"] for told in one.rest() if "beats" in told]
        assert max(beats, default=hung) - hung < 40, "it beats for a second after the last sign of life"


def test_a_hanging_page_is_killed_alone_and_the_beat_goes_on() -> None:
    """What is not vital is started again; nothing that receives notices."""
    with supervising("Job('a', living('a')), Job('desk', hanging, vital=False)") as one:
        one.hear("ready")
        assert one.hear("died") == {"died": "desk", "status": -9}
        one.hear("started", "hanging")
        before = one.hear("beats")["beats"]
        assert one.hear("beats")["beats"] > before


def test_what_cannot_start_ends_everything_with_1() -> None:
    """A unit that fails at its start says so, instead of trying for ever."""
    with supervising("Job('a', living('a')), Job('b', failing)") as one:
        assert one.process.wait(30) == 1
        assert {"died": "b", "status": 1} in one.rest()


def test_sigterm_ends_who_receives_first_and_the_page_last() -> None:
    """The page shall see how the uploads ended; exit status 0, and nobody is left."""
    with supervising("Job('a', living('a')), Job('desk', living('desk'), vital=False)") as one:
        pids = [one.hear("started")["pid"], one.hear("started")["pid"]]
        one.hear("ready")
        one.process.terminate()
        assert one.process.wait(30) == 0
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
