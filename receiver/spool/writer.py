"""One upload: bytes of the wire in, a stored file out.

Everything here blocks (disk) and runs in one worker thread at a time per upload, fed
in batches of about two megabytes: smaller hand-overs lose a third of the throughput to
the interpreter lock. Another thread hashes the batch meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from receiver.dump.facts import Facts, facts_untrusted
from receiver.dump.flattened import WriteAt
from receiver.dump.kind import sniff_untrusted
from receiver.dump.malformed import Malformed, TooLarge
from receiver.dump.progress import Progress
from receiver.dump.stream import Intake
from receiver.spool import incoming
from receiver.spool.admission import Allowance
from receiver.spool.clock import iso
from receiver.spool.disk import fitting, reader, start_writeback, write_all
from receiver.spool.dumps import Owner, Spool
from receiver.spool.incoming import Incoming
from receiver.spool.manifest import Manifest, StoredFile
from receiver.spool.store import Arrived, commit
from receiver.spool.wirehash import WireHash
from receiver.wire.families import Observation

NOTE_SECONDS: Final = 1.0  # between two notes of progress
WRITEBACK: Final = 32 << 20  # bytes of dirty pages that are worth a start of writing
FLOOR: Final = 4 << 20  # bytes of the disk that no dump takes: manifests, reports and the catalogue need them
HEADERS: Final = 64 << 10  # bytes on disk before the first look for what the dump says of itself


class Broken(Exception):
    """The upload cannot go on; what came is kept. `errno` says it in the system's words, if it can."""

    def __init__(self, reason: str, errno: int | None = None) -> None:
        super().__init__(reason)
        self.errno = errno


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an upload."""

    dump: Manifest
    file: StoredFile


class Upload:
    """A file on its way into a dump. Not thread-safe: one call at a time."""

    def __init__(
        self,
        spool: Spool,
        owner: Owner,
        dump: Manifest,
        requested: Sequence[str],
        tool: str,
        *,
        allowance: Allowance,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
        heard: Sequence[Observation] = (),
    ) -> None:
        self._spool = spool
        self._owner = owner
        self.dump = dump  # as it was when the upload began
        self._requested = tuple(requested)
        self._tool = tool
        self._clock = clock
        self._heard = tuple(heard)
        self._begun = clock()
        self._noted = 0.0
        self._dirty = 0  # bytes written since the kernel was last told to write them out
        self._intake = Intake(limit_bytes)
        self._hash = WireHash()
        self._progress = Progress()
        self._seen = False  # the headers, as far as they say what this is
        self._facts = Facts()
        self._broken: str | None = None
        self._malformed = False
        self._allowance = allowance
        self.id = allowance.id
        self.wire_bytes = 0
        self.path = spool.root / dump.directory / f"{incoming.PREFIX}{self.id}"
        with spool.changing(dump.directory):  # or a start's tidying takes it between the two steps
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            incoming.hold(self._fd)
        self._inode = os.fstat(self._fd).st_ino
        try:
            self._note(self._begun)
        except BaseException:
            os.close(self._fd)
            incoming.discard(self.path)
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Store the next bytes of the wire; `data` is not needed any longer when this returns.

        Raises:
            Broken: disk full, limit reached, or no valid stream; finish() is still due.
        """
        if self._broken:
            raise Broken(self._broken)
        with self._hash.taking(data):
            self.wire_bytes += len(data)
            self._put(self._intake.feed_untrusted(data))
        now = self._clock()
        if now - self._noted >= NOTE_SECONDS:
            with suppress(OSError):  # it tells of the upload; the upload does not need it
                self._note(now)

    def _put(self, writes: Iterator[WriteAt]) -> None:
        try:
            done = write_all(self._fd, fitting(self._fd, writes, FLOOR, self._allowance))
        except OSError as error:
            self._broken = os.strerror(error.errno or 0)
            raise Broken(self._broken, error.errno) from None
        except Malformed as error:
            self._broken, self._malformed = str(error), not isinstance(error, TooLarge)
            raise Broken(self._broken) from None
        self._dirty += sum(size for _, size in done)
        if self._dirty >= WRITEBACK:
            self._dirty = 0
            start_writeback(self._fd)
        self._progress.observe_many(done)
        if not self._seen and self._intake.size >= HEADERS:
            self._seen = True
            self._noted = 0.0  # what the headers say is worth a note at once

    def finish(self, broken: str | None = None, *, requested: Sequence[str] = ()) -> Stored:
        """No more bytes come (`broken` says why, if they should have): judge, store, and only then return.

        `requested` are further names that the client gives the file in the same breath.

        Raises:
            OSError: it could not be made durable. The file stays under its growing name.
        """
        stored = None
        try:
            stored = self._finish(broken, tuple(requested))
            return stored
        finally:
            os.close(self._fd)
            self._allowance.settle(stored.dump if stored else None)

    def _finish(self, broken: str | None, more_names: tuple[str, ...]) -> Stored:
        if not self._broken:
            try:
                self._put(self._intake.finish())
            except Broken as error:
                broken = broken or str(error)
        if os.fstat(self._fd).st_size < self._intake.size:
            os.ftruncate(self._fd, self._intake.size)
        os.fsync(self._fd)
        now = self._clock()
        flattened = self._intake.flattened
        arrived = Arrived(
            path=self.path,
            fd=self._fd,
            kind=self._intake.kind,
            wrapper=self._intake.wrapper,
            ended=self._intake.ended,
            size=self._intake.size,
            wire_bytes=self.wire_bytes,
            wire_sha256=self._hash.hexdigest(),
            requested=(*self._requested, *more_names),
            tool=self._tool,
            peer=self._owner.peer,
            started=iso(self._begun),
            finished=iso(now),
            seconds=round(now - self._begun, 3),
            broken=self._broken or broken,
            malformed=self._malformed,
            records=flattened.records if flattened else None,
            trailing=flattened.trailing if flattened else 0,
            heard=self._heard,
        )
        return Stored(*commit(self._spool, self.dump, arrived))

    def _note(self, now: float) -> None:
        """Tell other processes how far it is; the dump's own words are read as soon as they are in."""
        self._noted = now
        estimate = None
        read = reader(self._fd)
        if self._seen:
            estimate = self._progress.estimate(read)
            if self._facts.kernel_release is None:
                self._facts = facts_untrusted(read, sniff_untrusted(read(0, 4096)))
        seconds = now - self._begun
        fraction = estimate.fraction if estimate else None
        incoming.note(
            self.path,
            Incoming(
                id=self.id,
                dump=self.dump.id,
                directory=self.dump.directory,
                requested=self._requested,
                tool=self._tool,
                host=self._owner.name,
                peer=self._owner.peer,
                started=iso(self._begun),
                kind=self._intake.kind,
                wrapper=self._intake.wrapper,
                wire_bytes=self.wire_bytes,
                bytes=self._intake.size,
                done_pages=estimate.done_pages if estimate else None,
                total_pages=estimate.total_pages if estimate else None,
                fraction=fraction,
                exact=estimate.exact if estimate else False,
                kernel_release=self._facts.kernel_release,
                build_id=self._facts.build_id,
                crash_time=iso(self._facts.crash_time) if self._facts.crash_time else None,
                inode=self._inode,
                seconds=round(seconds, 3),
                eta_seconds=round(seconds / fraction - seconds, 1) if fraction else None,
            ),
        )
