"""The spool and the catalogue of the settings, opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from receiver.catalogue.store import Catalogue
from receiver.failure import Failure
from receiver.settings import Settings
from receiver.spool import recovery
from receiver.spool.dumps import Spool


def open_spool(settings: Settings) -> Spool:
    """The spool of the settings, its directories made."""
    try:
        return Spool(settings.root, settings.state)
    except OSError as error:
        raise Failure(
            f"{error.filename}: {error.strerror}; see `root` and `state_dir` in the settings"
        ) from None


def open_catalogue(settings: Settings) -> Catalogue:
    """The catalogue of the settings, its tables up to date."""
    return Catalogue(settings.catalogue_url, settings.state)


@contextmanager
def catalogue_of(settings: Settings) -> Iterator[Catalogue]:
    """The catalogue for one command."""
    with contextlib.closing(open_catalogue(settings)) as catalogue:
        yield catalogue


def rebuild(spool: Spool, catalogue: Catalogue, now: float) -> Iterator[str]:
    """Make the catalogue anew from the directories; gives each directory as it is taken."""
    taken = []
    for directory in spool.directories():
        dump = recovery.read_or_adopt(spool, directory, now)
        if dump is not None:
            recovery.bind_names(spool, dump)
            taken.append(dump)
            yield directory.name
    catalogue.replace_all(taken)
