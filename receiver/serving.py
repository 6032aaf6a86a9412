"""Whether a server runs on a state directory, and where it listens.

The server holds a lock on a small file, which the kernel drops with the last of its processes;
others only ask about the lock and never take it.

Source: fcntl(2), open file description locks: a fork shares them, and F_OFD_GETLK tells of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from receiver.durable import give_to_owner_of

NAME: Final = "serving.json"
_MAX: Final = 64 << 10  # bytes of the file that are read
_FLOCK: Final = "@hhqqi4x"  # struct flock with 64-bit offsets: type, whence, start, length, pid


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that runs. `addresses` is what its ready line said, empty while it still starts."""

    pid: int
    addresses: dict[str, Any] = field(default_factory=dict)


class Sign:
    """Held by a server as long as it lives: only the end of its processes takes it down."""

    def __init__(self, state: Path) -> None:
        self._fd = os.open(state / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        give_to_owner_of(state, self._fd)
        # Shared: at a restart the old server may still be ending.
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
        self.tell({})

    def tell(self, addresses: dict[str, Any]) -> None:
        """Show where it listens."""
        content = json.dumps({"pid": os.getpid(), "addresses": addresses}).encode()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, content, 0)


def running(state: Path) -> Serving | None:
    """The server that runs on `state`, if one does."""
    try:
        fd = os.open(state / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        (kind, *_) = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, question))
        if kind == fcntl.F_UNLCK:
            return None
        with suppress(ValueError, KeyError, TypeError):
            told = json.loads(os.pread(fd, _MAX, 0))
            return Serving(int(told["pid"]), dict(told["addresses"]))
        return Serving(0)  # just now starting
    finally:
        os.close(fd)
