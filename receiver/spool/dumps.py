"""The dump directories below the spool's root: claimed once, owned by one identity."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from receiver.dump.facts import Facts
from receiver.durable import locked, make_directory, sync_directory
from receiver.spool import behind, manifest, usage
from receiver.spool.clock import iso
from receiver.spool.ledger import Ledger
from receiver.spool.manifest import Manifest, ManifestError
from receiver.spool.names import Names
from receiver.wire.families import Observation, narrowed
from receiver.wire.paths import ClientPath

_SAFE = re.compile(r"[^\w%@:.,+=~-]", re.ASCII)
NAME_MAX = 128  # bytes of a directory's name, so that the owner's and a number still fit


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes: the identity and where it comes from."""

    name: str
    how: str
    peer: str


class Spool:
    """The tree of dumps. All methods are quick file work; call them off the event loop."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root = root
        self.state = state
        self.ledger = Ledger(state / "space.sqlite", lambda: usage.rows(self.directories()))
        make_directory(root)
        make_directory(state / "names")
        make_directory(behind.folder(state))

    def names(self, owner: str) -> Names:
        """The paths that `owner` knows."""
        return Names(self.state / "names" / owner)

    def open_dump(
        self, owner: Owner, directory: ClientPath, now: str, heard: Sequence[Observation] = ()
    ) -> Manifest:
        """The dump behind `directory`, begun if there is none yet; `heard` tells by which kdump."""
        names = self.names(owner.name)
        make_directory(names.directory)
        with locked(names.directory):
            known = names.dump(directory)
            if known is not None:
                with suppress(FileNotFoundError, ManifestError):  # what lies there is left as it is
                    return manifest.load(self.root / known)
            client = narrowed(names.announced_by(directory), heard)
            begun = self._claim(owner, directory, now, client)
            names.bind(directory, begun.directory)
            return begun

    def _claim(self, owner: Owner, directory: ClientPath, now: str, client: str) -> Manifest:
        """Make a directory under the root that nobody has."""
        name = (
            _SAFE.sub("_", directory.name or f"{owner.name}-{now}")
            .encode()[:NAME_MAX]
            .decode(errors="ignore")
        )
        if name.startswith("."):
            name = f"_{name}"
        candidates = [name, f"{name}@{owner.name}"]
        for candidate in (*candidates, *(f"{candidates[-1]}.{n}" for n in range(2, 1000))):
            try:
                (self.root / candidate).mkdir(mode=0o700)
            except FileExistsError:
                continue
            begun = Manifest(
                id=secrets.token_hex(5),
                host=owner.name,
                how=owner.how,
                peer=owner.peer,
                client=client,
                directory=candidate,
                requested=directory.text,
                date=now,
            ).noted(now, "begun", f"by {owner.name} from {owner.peer}")
            self.write(begun)
            sync_directory(self.root)
            return begun
        raise FileExistsError(errno.EEXIST, "too many dumps of that name", name)

    def find(self, owner: str, directory: ClientPath) -> Manifest | None:
        """The dump that `owner` has behind `directory`."""
        known = self.names(owner).dump(directory)
        if known is None:
            return None
        try:
            return manifest.load(self.root / known)
        except FileNotFoundError:
            return None
        except ManifestError:
            raise OSError(errno.EIO, os.strerror(errno.EIO), known) from None

    def write(self, dump: Manifest) -> None:
        """Write a dump's manifest, durably.

        From before it changes until `caught_up`, the catalogue counts as behind it: a
        process that is killed in between leaves a mark.
        """
        self.falls_behind(dump.directory)
        manifest.store(self.root, dump)

    def falls_behind(self, directory: str) -> None:
        """From now on the catalogue has not what lies in `directory`."""
        behind.mark(self.state, directory)

    def behind(self) -> list[str]:
        """The directories whose manifest the catalogue may not have; few, or none."""
        return behind.marked(self.state)

    def caught_up(self, directory: str) -> None:
        """The catalogue has the manifest as it is; call it while the dump is held."""
        behind.unmark(self.state, directory)

    @contextmanager
    def changing(self, directory: str) -> Iterator[Path]:
        """Hold one dump while its files and manifest change."""
        path = self.root / directory
        with locked(path):
            yield path

    def directories(self) -> Iterator[Path]:
        """Every dump directory, whether its manifest is whole or not."""
        for path in sorted(self.root.iterdir()):
            ours = path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
            if ours and path != self.state and path.name != "lost+found":
                yield path


def with_facts(dump: Manifest, facts: Facts, *, best: bool = True) -> Manifest:
    """The manifest with what a core's bytes say of the crash; what they do not say stays.

    A core that is not the `best` one only fills in what nothing has said.
    """
    said = {
        "kernel_release": facts.kernel_release,
        "build_id": facts.build_id,
        "crash_time": iso(facts.crash_time) if facts.crash_time else None,
        "architecture": facts.architecture,
        "nodename": facts.nodename,
        "pages_total": facts.pages_present,
        "dump_level": facts.dump_level,
        "compression": facts.compression,
    }
    new = {key: value for key, value in said.items() if value or value == 0}
    known = {key: value for key in new if (value := getattr(dump, key)) is not None}
    changes: dict[str, Any] = new if best else new | known
    return replace(dump, **changes)
