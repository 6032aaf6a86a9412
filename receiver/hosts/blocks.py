"""Names that are shut out, whatever they show: ``hosts/blocked/NAME.json``.

`host remove` takes a key away. A host that comes with a certificate has none here, and its
certificate stays valid until it expires; one machine behind a shared key cannot lose that key.
Those are blocked by name: the host, or ``HOST@ADDRESS``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from pathlib import Path

from receiver.durable import sync_directory
from receiver.hosts import records
from receiver.hosts.identity import UNKNOWN_PEER, BadName, check_host_name, normalised_peer
from receiver.hosts.records import Damaged, open_directory, unusable


@dataclass(frozen=True, slots=True)
class Block:
    """One name that is shut out."""

    name: str
    since: str  # UTC, ISO 8601
    note: str


class Blocks:
    """All blocked names, below `directory`.

    Raises:
        StateError: (every method) the directory cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = open_directory(directory)

    def add(self, name: str, note: str = "") -> Block:
        """Shut `name` out from its next login on. Raises BadName."""
        since = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        block = Block(check_blockable(name), since, note)
        records.write(self._path(block.name), asdict(block))
        return block

    def remove(self, name: str) -> bool:
        """Whether `name` was shut out; it is not now."""
        try:
            path = self._path(check_blockable(name))
            path.unlink()
            sync_directory(self._directory)
        except (BadName, FileNotFoundError):
            return False
        except OSError as error:
            raise unusable(error, self._directory) from None
        return True

    def of(self, *names: str) -> Block | None:
        """The block of the first of `names` that has one. What cannot be read blocks, too."""
        for name in dict.fromkeys(names):
            path = self._path(name)
            try:
                found = records.read(path)
            except Damaged as damaged:
                return Block(name, "", str(damaged))
            if found is not None:
                return Block(name, str(found.get("since", "")), str(found.get("note", "")))
        return None

    def all(self) -> list[Block]:
        """Every block, by name."""
        try:
            names = sorted(path.stem for path in self._directory.glob("[!.]*.json"))
        except OSError as error:
            raise unusable(error, self._directory) from None
        return [block for name in names if (block := self.of(name))]

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def check_blockable(name: str) -> str:
    """A host's name, or ``HOST@ADDRESS``, as `Identity.name` has it. Raises BadName."""
    host, at, address = name.partition("@")
    if not at:
        return check_host_name(host)
    peer = normalised_peer(address)
    if peer == UNKNOWN_PEER:
        raise BadName(f"{name[:80]!r}: an IP address is wanted behind the @")
    return f"{check_host_name(host)}@{peer}"
