"""What one identity can do with the spool: what kdump's clients do, and nothing else.

Both doors, commands and SFTP, act through it. Errors are OSErrors, whose errno each
door says in its client's own words.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from receiver.dump.kind import Kind
from receiver.durable import write_file
from receiver.spool import attempts, incoming, manifest, store
from receiver.spool.admission import Admission, Allowance
from receiver.spool.clock import iso
from receiver.spool.dumps import Owner, Spool
from receiver.spool.manifest import Manifest, StoredFile
from receiver.spool.names import UNKNOWN
from receiver.spool.space import Space
from receiver.spool.writer import Upload
from receiver.wire.answers import mktemp_name
from receiver.wire.families import Observation, narrowed
from receiver.wire.paths import ClientPath, parse_untrusted

STATUS: Final = "vmcore-creation.status"  # the one file that a client reads: `kdumpctl test` of kdump-utils
NAMES_MAX: Final = 16  # of one file, that are remembered
UNFINISHED: Final = "incomplete"  # in what every client calls a file that it will rename when it is whole
STATUS_MAX: Final = 4096  # bytes of it


@dataclass(frozen=True, slots=True)
class Found:
    """A file under the name the client knows."""

    size: int
    mtime: float


class View:
    """The spool as `owner` sees it. All methods do quick file work; call them off the event loop.

    What was `heard` of the client goes into the dumps that it touches.
    """

    def __init__(
        self,
        spool: Spool,
        owner: Owner,
        admission: Admission,
        clock: Callable[[], float] = time.time,
        heard: Sequence[Observation] = (),
    ) -> None:
        self._spool = spool
        self._admission = admission
        self._clock = clock
        self._heard = tuple(heard)
        self._names = spool.names(owner.name)
        self.owner = owner

    def make_directory(self, path: ClientPath, *, parents: bool) -> None:
        """`mkdir`: the directory is remembered; a dump begins with its first file."""
        if self._names.is_directory(path):
            if parents:
                return
            raise _error(errno.EEXIST)
        if self.find(path):
            raise _error(errno.EEXIST)
        self._admission.check(self.owner.name)
        self._names.announce(path, narrowed(UNKNOWN, self._heard))

    def remove_directory(self, path: ClientPath) -> None:
        """`rmdir` of a directory that holds nothing."""
        if self._names.dump(path) is not None:
            raise _error(errno.ENOTEMPTY)
        if not self._names.forget(path):
            raise _error(errno.ENOENT)

    def make_temporary(self, parent: ClientPath) -> ClientPath:
        """`mktemp -d`, the clients' test whether they may write: so a file is really written."""
        self._admission.check(self.owner.name)
        trial = self._spool.state / f".trial-{secrets.token_hex(4)}"
        write_file(trial, b"written by a client's `mktemp`\n")
        trial.unlink(missing_ok=True)
        path = parse_untrusted(f"{parent.text.rstrip('/')}/{mktemp_name(secrets.token_bytes(10))}")
        self._names.announce(path)
        return path

    def space(self) -> Space:
        """What `df` shall say."""
        return self._admission.space(self.owner.name)

    def is_directory(self, path: ClientPath) -> bool:
        """Whether the client made this directory or wrote into it."""
        return self._names.is_directory(path)

    def find(self, path: ClientPath) -> Found | None:
        """A file of the client's, stored or growing."""
        dump = self._dump_of(path)
        if dump is None:
            return None
        directory = self._spool.root / dump.directory
        for growing in incoming.growing(directory):
            note = incoming.read(growing)
            if note and note.requested[-1] == path.name:
                with suppress(FileNotFoundError):  # just now stored
                    status = growing.stat()
                    return Found(status.st_size, status.st_mtime)
        with self._spool.changing(dump.directory):
            file = _current(manifest.load(directory), path.name)
            return Found(file.bytes, (directory / file.name).stat().st_mtime) if file else None

    def begin(self, path: ClientPath, tool: str, *, expected_bytes: int = 0) -> Upload:
        """Start to receive a file; the dump begins with its first one.

        Raises:
            OSError: ENOSPC, EFBIG, EDQUOT before a byte is taken; EISDIR where a directory is named,
                ENOTDIR where a file is used as one.
        """
        if path.trailing_slash or not path.parts or self._is_plain_directory(path):
            raise _error(errno.EISDIR)
        if self.find(path.parent):
            raise _error(errno.ENOTDIR)
        core = attempts.is_core(path.name, Kind.EMPTY)
        dump = self._dump_of(path)
        if dump is None:
            self._admission.admit_dump(self.owner.name)
        elif core:
            self._admission.refuse_storm(dump)
        allowance = self._admission.reserve(self.owner.name, core=core, expected_bytes=expected_bytes)
        try:
            with suppress(FileNotFoundError):  # the dump was removed just now: it begins anew
                return self._begin(path, tool, allowance)
            return self._begin(path, tool, allowance)
        except BaseException:
            allowance.settle()
            raise

    def _begin(self, path: ClientPath, tool: str, allowance: Allowance) -> Upload:
        dump = self._spool.open_dump(self.owner, path.parent, iso(self._clock()), self._heard)
        if len(dump.files) >= attempts.FILES_MAX:
            raise _error(errno.EDQUOT)
        allowance.begun(dump)
        return Upload(
            self._spool,
            self.owner,
            dump,
            [path.name],
            tool,
            allowance=allowance,
            limit_bytes=self._admission.limits.max_dump_bytes,
            clock=self._clock,
            heard=self._heard,
        )

    def rename(self, old: ClientPath, new: ClientPath) -> Manifest:
        """`mv` inside one dump: the new name is written down; the core stays `vmcore`.

        Raises:
            OSError: ENOENT where there is no such file, EXDEV where the directories differ,
                EBUSY while it is still being received, EPERM where it has its final name.
        """
        if self.is_directory(new) and not new.trailing_slash:
            raise _error(errno.EISDIR)
        dump = self._dump_of(old)
        if dump is None:
            raise _error(errno.ENOENT)
        if old.parent.parts != new.parent.parts:
            raise _error(errno.EXDEV)
        with self._spool.changing(dump.directory) as directory:
            dump = manifest.load(directory)
            file = _current(dump, old.name)
            if file is None and any(gone.file.requested[-1] == old.name for gone in dump.removed):
                return dump  # its space was needed between the client's two commands
            if file is None:
                raise _error(errno.EBUSY if self.find(old) else errno.ENOENT)
            if UNFINISHED not in old.name:
                raise _error(errno.EPERM)
            renamed = replace(file, requested=(*file.requested[-NAMES_MAX + 1 :], new.name))
            others = [other for other in dump.files if other is not file]
            same = attempts.plain_name(renamed) == attempts.plain_name(file)
            strangers = store.strangers(directory, dump)
            files = [*others, renamed] if same else attempts.arranged(others, renamed, strangers)
            note = f"{old.name} to {new.name}"
            client = narrowed(dump.client, self._heard)
            dump = replace(dump, files=tuple(files), client=client)
            dump = dump.noted(iso(self._clock()), "renamed", note)
            with store.moved(directory, store.moves_between((*others, file), files)):
                self._spool.write(dump)
        return dump

    def read_status(self, path: ClientPath) -> bytes:
        """The result of the client's own `kdumpctl test`; nothing else can be read back."""
        dump = self._dump_of(path)
        file = _current(dump, path.name) if dump else None
        if dump is None or file is None:
            raise _error(errno.ENOENT)
        if path.name != STATUS or file.bytes > STATUS_MAX:
            raise _error(errno.EACCES)
        return (self._spool.root / dump.directory / file.name).read_bytes()

    def _dump_of(self, path: ClientPath) -> Manifest | None:
        return self._spool.find(self.owner.name, path.parent) if path.parts else None

    def _is_plain_directory(self, path: ClientPath) -> bool:
        return self._names.is_directory(path)


def _current(dump: Manifest, name: str) -> StoredFile | None:
    """The file that `name` means in the client's eyes: the one that got it last."""
    return next((file for file in reversed(dump.files) if file.requested[-1] == name), None)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
