"""What no client waits for: the report people wait for, then a look with drgn, then the hash.

Each kind has a thread of its own, so that the report of a small dump waits neither for the
hash of a large one nor for what a start found unfinished.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from receiver import reports
from receiver.catalogue.news import reported
from receiver.dump.stream import DUMPS
from receiver.events import Bus, Trouble
from receiver.settings import Settings
from receiver.spool import manifest
from receiver.spool.clock import iso
from receiver.spool.dumps import Spool
from receiver.spool.hashing import with_digest
from receiver.spool.manifest import Manifest, StoredFile
from receiver.spool.store import Stopped
from receiver.triage.overrides import Overrides

NICE: Final = 10  # uploads come before hashes; the hashing thread holds the interpreter's lock hardly ever
LOOK_SECONDS: Final = 0.5  # between two looks whether the server ends


@dataclass(frozen=True, order=True, slots=True)
class Job:
    """A stored file to see to, in the order of the work."""

    old: bool  # found by a start: after the fresh ones
    number: int
    directory: str
    file: StoredFile = field(compare=False)


class Aftercare:
    """Of one serving process."""

    def __init__(
        self,
        spool: Spool,
        settings: Settings,
        overrides: Overrides,
        bus: Bus,
        record: Callable[[Manifest], None],
        *,
        reported: Callable[[Manifest], object] = lambda _: None,
        analyses: bool,
    ) -> None:
        """`reported` hears of every dump whose log was read, before its core is looked into."""
        self._spool = spool
        self._settings = settings
        self._overrides = overrides
        self._bus = bus
        self._record = record
        self._reported = reported
        self._numbers = itertools.count()
        self._ending = threading.Event()
        self._reports: queue.PriorityQueue[Job] = queue.PriorityQueue()
        self._hashes: queue.PriorityQueue[Job] = queue.PriorityQueue()
        self._cores: queue.Queue[str] = queue.Queue()
        self._threads = [
            threading.Thread(
                target=self._each, name="report", args=(self._reports, self._report), daemon=True
            ),
            threading.Thread(
                target=self._each, name="hash", args=(self._hashes, self._hash, NICE), daemon=True
            ),
        ]
        if analyses:  # a daemon thread, since a stop need not wait for drgn
            threading.Thread(target=self._analyse, name="analysis", daemon=True).start()
        for thread in self._threads:
            thread.start()

    def take(self, directory: str, file: StoredFile, *, old: bool = False) -> None:
        """See to a stored file; an `old` one, which a start found, comes after the fresh ones."""
        job = Job(old, next(self._numbers), directory, file)
        (self._reports if reports.may_hold_log(file) else self._hashes).put(job)

    def end(self) -> None:
        """Leave what has not begun to the next start; blocks until what has begun is done."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _each(self, jobs: queue.PriorityQueue[Job], work: Callable[[Job], None], nice: int = 0) -> None:
        if nice:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        while not self._ending.is_set():
            try:
                job = jobs.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            try:
                work(job)
            except Stopped:
                return
            except Exception as error:
                self._bus.tell(Trouble("aftercare", f"{job.directory}/{job.file.name}: {error!r}"))

    def _report(self, job: Job) -> None:
        try:
            if job.old and manifest.load(self._spool.root / job.directory).crash_class is not None:
                return  # it came since the start, and was seen to
            dump = reports.write(self._spool, job.directory, iso(time.time()), self._overrides)
            self._bus.tell(reported(dump))
            self._record(dump)
            self._reported(dump)
        finally:
            if job.file.core and job.file.kind in DUMPS:  # of anything else drgn only says that it is none
                self._cores.put(job.directory)
            self._hashes.put(job)

    def _hash(self, job: Job) -> None:
        if job.file.sha256 is None:
            with suppress(FileNotFoundError):  # its space was needed
                self._record(with_digest(self._spool, job.directory, job.file.name, self._ending.is_set))

    def _analyse(self) -> None:
        while True:
            directory = self._cores.get()
            try:
                reports.analyse(self._spool, directory, self._settings)
            except Exception as error:
                self._bus.tell(Trouble("analysis", f"{directory}: {error}"))
