"""Several serving processes on one socket: started, watched, and started again when one dies."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

READY: Final = b"r"
BEAT: Final = b"b"
PR_SET_PDEATHSIG: Final = 1
AGAIN_SECONDS: Final = 1.0  # before a dead worker is started again
SILENT_SECONDS: Final = 30.0  # without a beat: it hangs, and the service manager shall know

Run = Callable[[int, Callable[[], None], Callable[[], None]], None]  # worker's number, ready, beat


@dataclass(slots=True)
class _Worker:
    number: int
    pid: int
    pipe: int  # its signs of life
    beaten: float
    ready: bool = False


class Workers:
    """`count` children that each do ``run(number, ready, beat)``."""

    def __init__(self, count: int, run: Run, died: Callable[[int, int], None]) -> None:
        self._count = count
        self._run = run
        self._died = died
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def supervise(self, ready: Callable[[], None], beat: Callable[[], None]) -> int:
        """Until SIGTERM or SIGINT, passed on to the workers; 0, or 1 when none could be started."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._stop)
        for number in range(self._count):
            self._start(number)
        told = False
        while self._workers:
            for key, _ in self._selector.select(timeout=AGAIN_SECONDS):
                self._hear(key.fd)
            workers = list(self._workers.values())
            if not told and len(workers) == self._count and all(worker.ready for worker in workers):
                told = True
                ready()
            now = time.monotonic()
            if all(now - worker.beaten < SILENT_SECONDS for worker in workers):
                beat()
            if not self._reap(told):
                return 1
        return 0

    def _stop(self, number: int, _frame: object) -> None:
        self._stopping = True
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGTERM)

    def _start(self, number: int) -> None:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._child(number, theirs)
        os.close(theirs)
        os.set_blocking(ours, False)
        worker = _Worker(number, pid, ours, time.monotonic())
        self._workers[pid] = worker
        self._selector.register(ours, selectors.EVENT_READ)
        if self._stopping:  # the signal came while this one was being made
            os.kill(pid, signal.SIGTERM)

    def _child(self, number: int, pipe: int) -> None:
        status = 1
        try:
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, signal.SIG_DFL)
            self._selector.close()
            for other in self._workers.values():
                os.close(other.pipe)  # the others shall see it close with the supervisor
            _die_with_parent()
            self._run(number, lambda: _tell(pipe, READY), lambda: _tell(pipe, BEAT))
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
        """Take note of the dead; False when a worker cannot even start."""
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
            self._died(worker.number, os.waitstatus_to_exitcode(status))
            if not told:
                self._stop(signal.SIGTERM, None)
                return False
            time.sleep(AGAIN_SECONDS)
            self._start(worker.number)
        return True


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
