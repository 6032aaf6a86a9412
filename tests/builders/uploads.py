"""Clients of the spool without a network: what one host sends, as the door hands it on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from receiver.spool.admission import Admission
from receiver.spool.dumps import Owner, Spool
from receiver.spool.manifest import Manifest, load
from receiver.spool.space import Limits
from receiver.spool.view import View
from receiver.spool.writer import Stored
from receiver.wire.paths import parse_untrusted

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def ticking(start: float = NOW) -> Callable[[], float]:
    """A clock that goes on one second with each look."""
    ticks = itertools.count()
    return lambda: start + next(ticks)


def spool_in(directory: Path) -> Spool:
    """A spool below `directory`."""
    return Spool(directory / "spool", directory / "state")


@dataclass
class Host:
    """One identity and what it does."""

    spool: Spool
    name: str = "web01"
    limits: Limits = field(default_factory=lambda: Limits(keep_free=0))
    clock: Callable[[], float] = field(default_factory=ticking)

    @property
    def view(self) -> View:
        """A fresh one, as each connection has."""
        return View(
            self.spool,
            Owner(self.name, "key", "192.0.2.7"),
            Admission(self.spool, self.limits, clock=self.clock),
            self.clock,
        )

    def send(
        self, path: str, data: bytes, *, cuts: Sequence[int] = (), broken: str | None = None, tool: str = "dd"
    ) -> Stored:
        """Send `data` in pieces that end at `cuts`; `broken` says why it ended early."""
        upload = self.view.begin(parse_untrusted(path), tool)
        ends = [*sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
        for start, end in itertools.pairwise([0, *ends]):
            upload.write(data[start:end])
        return upload.finish(broken)

    def move(self, old: str, new: str) -> Manifest:
        """`mv OLD NEW`."""
        return self.view.rename(parse_untrusted(old), parse_untrusted(new))


def contents(spool: Spool, dump: Manifest) -> dict[str, bytes]:
    """Every file that the manifest on disk names, and its bytes."""
    directory = spool.root / dump.directory
    return {file.name: (directory / file.name).read_bytes() for file in load(directory).files}
