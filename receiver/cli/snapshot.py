"""What `kdump-receiver top` shows: one look at everything, from the files alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from receiver.catalogue.journal import Entry
    from receiver.catalogue.store import Catalogue
    from receiver.serving import Serving
    from receiver.settings import Settings
    from receiver.spool.live import Moving
    from receiver.spool.manifest import Manifest
    from receiver.spool.space import Space

LATEST: Final = 20  # stored dumps that are looked up; a screen shows as many as fit
EVENTS: Final = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at everything. `trouble` says why the stored dumps are not known."""

    now: float  # seconds of the epoch
    root: Path
    serving: Serving | None
    space: Space
    uploads: list[Moving]
    latest: list[Manifest]
    events: list[Entry]  # the newest first
    trouble: str = ""


class Looking:
    """Takes one snapshot after the other, from the files alone."""

    def __init__(self, settings: Settings) -> None:
        from receiver.spool.live import Pace

        self._settings = settings
        self._pace = Pace()
        self._catalogue: Catalogue | None = None

    def look(self) -> Snapshot:
        """Everything as it is now.

        Raises:
            Failure: there is no directory of dumps, or it cannot be read.
        """
        from receiver import serving
        from receiver.failure import Failure
        from receiver.spool import live
        from receiver.spool.space import Space, bytes_of, disk

        settings, now = self._settings, time.time()
        try:
            notes = list(live.uploads(settings.root, now, settings.silence_seconds))
            room = disk(settings.root)
        except OSError as error:
            where = error.filename or settings.root
            raise Failure(f"{where}: {error.strerror}; see `root` in the settings") from None
        left = max(0, room.free - bytes_of(settings.keep_free, room.total))
        latest, events, trouble = self._latest()
        return Snapshot(
            now=now,
            root=settings.root,
            serving=serving.running(settings.state),
            space=Space(room.total, room.total - room.free, left),
            uploads=self._pace.observe(notes, now),
            latest=latest,
            events=events,
            trouble=trouble,
        )

    def _latest(self) -> tuple[list[Manifest], list[Entry], str]:
        """The newest dumps and events; the uploads show without them when the catalogue is away."""
        from sqlalchemy.exc import SQLAlchemyError

        from receiver import stores
        from receiver.catalogue.store import Query
        from receiver.failure import Failure

        try:
            if self._catalogue is None:
                self._catalogue = stores.open_catalogue(self._settings)
            found = list(self._catalogue.find(Query(most=LATEST)))
            events = self._catalogue.journal.newest(EVENTS)[::-1]
        except (Failure, OSError, SQLAlchemyError) as error:
            return [], [], f"the catalogue cannot be read: {str(error).partition(chr(10))[0]}"
        return [dump for dump in found if dump.files], events, ""

    def close(self) -> None:
        """Let go of the catalogue."""
        if self._catalogue is not None:
            self._catalogue.close()
