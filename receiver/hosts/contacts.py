"""When each host was last here: ``contacts/NAME.json``, replaced with each login.

A host that is quiet for weeks may be one whose kdump broke in an update; the operator sees it
here before the crash shows it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver.durable import make_directory, write_file
from receiver.hosts import records
from receiver.hosts.records import Damaged

MOST: Final = 65_536  # hosts that are remembered; a shared key's are one for each address


@dataclass(frozen=True, slots=True)
class Contact:
    """The last login of one host."""

    host: str
    peer: str
    at: str  # UTC, ISO 8601
    how: str  # key or certificate


class Contacts:
    """All of them, below `state`. Not durable: what a power cut takes, the next login brings back."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "contacts"
        make_directory(self._directory)
        self._count = sum(1 for _ in self._directory.iterdir())

    def note(self, contact: Contact) -> None:
        """The host was here. Raises OSError."""
        path = self._directory / f"{contact.host}.json"
        if not path.exists():
            if self._count >= MOST:
                return
            self._count += 1
        document = {"peer": contact.peer, "at": contact.at, "how": contact.how}
        write_file(path, json.dumps(document).encode(), sync=False)

    def of(self, host: str) -> Contact | None:
        """The last contact of one host."""
        return self._read(self._directory / f"{host}.json")

    def all(self) -> dict[str, Contact]:
        """By host."""
        found = map(self._read, self._directory.glob("*.json"))
        return {contact.host: contact for contact in found if contact is not None}

    def _read(self, path: Path) -> Contact | None:
        try:
            found = records.read(path)
        except Damaged:
            return None
        if found is None:
            return None
        peer, at, how = (str(found.get(field, "")) for field in ("peer", "at", "how"))
        return Contact(path.name.removesuffix(".json"), peer, at, how)
