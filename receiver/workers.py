"""Several processes that serve: started, watched, and started again when one dies or hangs."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

READY: Final = b"r"
BEAT: Final = b"b"
PR_SET_PDEATHSIG: Final = 1
LOOK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 1.0  # before a dead one is started again; twice as long each time it dies at once
LONGEST_SECONDS: Final = 30.0  # that it waits
SETTLED_SECONDS: Final = 60.0  # of life, after which it waits no longer than the first time
SILENT_SECONDS: Final = 30.0  # without a beat: it hangs
STARTING_SECONDS: Final = 180.0  # that one may take on a machine that has other things to do
DESK_STOP_SECONDS: Final = 10.0  # that what is not vital gets to end when all else has

Run = Callable[[Callable[[], None], Callable[[], None]], None]  # ready, beat


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    A `vital` one that cannot start ends everything, and when it hangs the service manager shall
    know. Another is killed and started again, and nothing else suffers.
    """

    name: str
    run: Run
    vital: bool = True


@dataclass(slots=True)
class _Worker:
    job: Job
    pid: int
    pipe: int  # its signs of life
    started: float
    beaten: float
    ready: bool = False


class Workers:
    """A child for each of `jobs`; `died(name, status)` hears of each that ended by itself."""

    def __init__(self, jobs: Sequence[Job], died: Callable[[str, int], None]) -> None:
        self._jobs = jobs
        self._died = died
        self._workers: dict[int, _Worker] = {}
        self._due: dict[str, tuple[float, Job]] = {}  # when the dead are started again
        self._waits: dict[str, float] = {}
        self._failed: set[str] = set()  # died once, at least
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._told_last: float | None = None  # when the others were told to end

    def supervise(self, ready: Callable[[], None], beat: Callable[[], None]) -> int:
        """Until SIGTERM or SIGINT, passed on to the workers; 0, or 1 when none could be started."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._stop)
        for job in self._jobs:
            self._start(job)
        told = False
        while self._workers or (self._due and not self._stopping):
            for key, _ in self._selector.select(timeout=LOOK_SECONDS):
                self._hear(key.fd)
            now = time.monotonic()
            if not told and self._all_ready():
                told = True
                ready()
            if all(now - worker.beaten < SILENT_SECONDS for worker in self._of(vital=True)):
                beat()
            self._kill_silent(now)
            if not self._reap(told):
                return 1
            self._start_due(now)
            self._end_last(now)
        return 0

    def _of(self, *, vital: bool) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.job.vital == vital]

    def _all_ready(self) -> bool:
        ready = {worker.job.name for worker in self._workers.values() if worker.ready}
        optional = {job.name for job in self._jobs if not job.vital} & self._failed
        return {job.name for job in self._jobs} <= ready | optional

    def _stop(self, number: int, _frame: object) -> None:
        """What serves clients ends first: the others shall see what that brings."""
        self._stopping = True
        for worker in self._of(vital=True):
            os.kill(worker.pid, signal.SIGTERM)

    def _end_last(self, now: float) -> None:
        if not self._stopping or self._of(vital=True):
            return
        if self._told_last is None:
            self._told_last = now
            for worker in self._of(vital=False):
                os.kill(worker.pid, signal.SIGTERM)
        elif now - self._told_last > DESK_STOP_SECONDS:
            for worker in self._of(vital=False):
                os.kill(worker.pid, signal.SIGKILL)

    def _kill_silent(self, now: float) -> None:
        for worker in self._of(vital=False):
            if now - worker.beaten > (SILENT_SECONDS if worker.ready else STARTING_SECONDS):
                os.kill(worker.pid, signal.SIGKILL)

    def _start(self, job: Job) -> None:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._child(job, theirs)
        os.close(theirs)
        os.set_blocking(ours, False)
        now = time.monotonic()
        worker = _Worker(job, pid, ours, now, now)
        self._workers[pid] = worker
        self._selector.register(ours, selectors.EVENT_READ)
        if self._stopping and job.vital:  # the signal came while this one was being made
            os.kill(pid, signal.SIGTERM)

    def _start_due(self, now: float) -> None:
        for name, (when, job) in list(self._due.items()):
            if self._stopping:
                del self._due[name]
            elif now >= when:
                del self._due[name]
                self._start(job)

    def _child(self, job: Job, pipe: int) -> None:
        status = 1
        try:
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, signal.SIG_DFL)
            self._selector.close()
            for other in self._workers.values():
                os.close(other.pipe)  # the others shall see it close with the supervisor
            _die_with_parent()
            job.run(lambda: _tell(pipe, READY), lambda: _tell(pipe, BEAT))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _hear(self, fd: int) -> None:
        worker = next(worker for worker in self._workers.values() if worker.pipe == fd)
        heard = os.read(fd, 4096)
        if not heard:  # closed: it is dying, and reaped below
            self._selector.unregister(fd)
        worker.ready = worker.ready or READY in heard
        worker.beaten = time.monotonic()

    def _reap(self, told: bool) -> bool:
        """Take note of the dead; False when a vital one cannot even start."""
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            worker = self._workers.pop(pid)
            if worker.pipe in self._selector.get_map():
                self._selector.unregister(worker.pipe)
            os.close(worker.pipe)
            if self._stopping:
                continue
            self._died(worker.job.name, os.waitstatus_to_exitcode(status))
            if not told and worker.job.vital:
                for other in self._workers.values():
                    os.kill(other.pid, signal.SIGTERM)
                return False
            self._failed.add(worker.job.name)
            self._again(worker)
        return True

    def _again(self, worker: _Worker) -> None:
        now, name = time.monotonic(), worker.job.name
        settled = now - worker.started > SETTLED_SECONDS
        wait = AGAIN_SECONDS if settled else self._waits.get(name, AGAIN_SECONDS)
        self._waits[name] = min(LONGEST_SECONDS, wait * 2)
        self._due[name] = (now + wait, worker.job)


def _die_with_parent() -> None:
    """SIGTERM when the supervisor is killed: the address must be free for the next one.

    Source: prctl(2), PR_SET_PDEATHSIG of <linux/prctl.h>.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _tell(pipe: int, what: bytes) -> None:
    try:
        os.write(pipe, what)
    except BrokenPipeError:  # the supervisor is gone; so are we
        os.kill(os.getpid(), signal.SIGTERM)
