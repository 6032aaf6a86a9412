"""The paths that one identity knows, and the dumps that lie behind them.

A client sees a directory tree of its own. Here that tree is a flat set of small
files, one a directory, found by the hash of its path: ``announced/`` holds those
that were only made (`mkdir -p /var/crash`), ``dumps/`` those that files were
written into. State lies in files because each command of a client comes on a
connection of its own, perhaps to another worker process.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from receiver.durable import make_directory, write_file
from receiver.wire.families import Family
from receiver.wire.paths import ClientPath

ANNOUNCED_MAX = 256  # directories without a dump that one identity may have; the oldest is forgotten


UNKNOWN = Family.UNKNOWN.text


class Names:
    """The names of one identity, below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._announced = directory / "announced"
        self._dumps = directory / "dumps"
        self.directory = directory

    def announce(self, path: ClientPath, client: str = UNKNOWN) -> None:
        """Remember that the client made `path` as a directory, and which kdump that may have been."""
        make_directory(self._announced)
        kept = list(self._announced.iterdir())
        if len(kept) >= ANNOUNCED_MAX:
            min(kept, key=_age).unlink(missing_ok=True)
        entry = json.dumps({"path": path.text, "client": client})
        self._entry(self._announced, path).write_text(entry)

    def announced_by(self, path: ClientPath) -> str:
        """The client that made the directory `path`, as far as it was known then."""
        try:
            return str(json.loads(self._entry(self._announced, path).read_bytes())["client"])
        except (FileNotFoundError, ValueError):  # never made, or a write that a power cut left half done
            return UNKNOWN

    def forget(self, path: ClientPath) -> bool:
        """`rmdir`: whether there was such a directory, with no dump in it."""
        try:
            self._entry(self._announced, path).unlink()
        except FileNotFoundError:
            return False
        return True

    def is_directory(self, path: ClientPath) -> bool:
        """Whether the client made `path` or wrote into it; the root is always there."""
        return not path.parts or self._entry(self._announced, path).exists() or self.dump(path) is not None

    def dump(self, path: ClientPath) -> str | None:
        """The directory below the spool's root that holds what was written into `path`."""
        try:
            found = json.loads(self._entry(self._dumps, path).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return str(found["dump"])

    def bind(self, path: ClientPath, dump: str) -> None:
        """From now on `path` is that dump. Durable: the next connection must find it."""
        make_directory(self._dumps)
        entry = json.dumps({"path": path.text, "dump": dump}).encode()
        write_file(self._entry(self._dumps, path), entry)
        self._entry(self._announced, path).unlink(missing_ok=True)

    def unbind(self, path: ClientPath, dump: str) -> None:
        """`path` is no longer that dump, which is removed."""
        if self.dump(path) == dump:
            self._entry(self._dumps, path).unlink(missing_ok=True)

    @staticmethod
    def _entry(folder: Path, path: ClientPath) -> Path:
        return folder / hashlib.sha256("/".join(path.parts).encode()).hexdigest()[:32]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
