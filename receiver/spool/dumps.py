"""The dump directories below the spool's root: claimed once, owned by one identity."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from receiver.dump.facts import Facts
from receiver.durable import locked, make_directory, sync_directory
from receiver.spool import manifest
from receiver.spool.clock import iso
from receiver.spool.manifest import Manifest
from receiver.spool.names import Names
from receiver.wire.paths import ClientPath

_SAFE = re.compile(r"[^\w%@:.,+=~-]", re.ASCII)
NAME_MAX = 200  # bytes of a directory's name, so that a suffix still fits


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
        make_directory(root)
        make_directory(state / "names")

    def names(self, owner: str) -> Names:
        """The paths that `owner` knows."""
        return Names(self.state / "names" / owner)

    def open_dump(self, owner: Owner, directory: ClientPath, now: str) -> Manifest:
        """The dump behind `directory`, begun if there is none yet."""
        names = self.names(owner.name)
        make_directory(names.directory)
        with locked(names.directory):
            known = names.dump(directory)
            if known is not None and (self.root / known / manifest.NAME).exists():
                return manifest.load(self.root / known)
            begun = self._claim(owner, directory, now)
            names.bind(directory, begun.directory)
            return begun

    def _claim(self, owner: Owner, directory: ClientPath, now: str) -> Manifest:
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
                client="unknown",
                directory=candidate,
                requested=directory.text,
                date=now,
            ).noted(now, "begun", f"by {owner.name} from {owner.peer}")
            manifest.store(self.root, begun)
            sync_directory(self.root)
            return begun
        raise FileExistsError(17, "too many dumps of that name", name)

    def find(self, owner: str, directory: ClientPath) -> Manifest | None:
        """The dump that `owner` has behind `directory`."""
        known = self.names(owner).dump(directory)
        if known is None:
            return None
        try:
            return manifest.load(self.root / known)
        except FileNotFoundError:
            return None

    @contextmanager
    def changing(self, directory: str) -> Iterator[Path]:
        """Hold one dump while its files and manifest change."""
        path = self.root / directory
        with locked(path):
            yield path

    def directories(self) -> Iterator[Path]:
        """Every dump directory, whether its manifest is whole or not."""
        for path in sorted(self.root.iterdir()):
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                yield path


def with_facts(dump: Manifest, facts: Facts) -> Manifest:
    """The manifest with what the core's bytes say of the crash; what they do not say stays."""
    return replace(
        dump,
        kernel_release=facts.kernel_release or dump.kernel_release,
        build_id=facts.build_id or dump.build_id,
        crash_time=iso(facts.crash_time) if facts.crash_time else dump.crash_time,
        architecture=facts.architecture or dump.architecture,
        nodename=facts.nodename or dump.nodename,
        pages_total=facts.pages_present or dump.pages_total,
        dump_level=facts.dump_level if facts.dump_level is not None else dump.dump_level,
        compression=facts.compression or dump.compression,
    )
