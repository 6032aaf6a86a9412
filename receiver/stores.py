"""The spool and the catalogue of the settings, opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.catalogue.store import Catalogue
from receiver.events import Event
from receiver.failure import Failure
from receiver.settings import Settings
from receiver.spool import behind, manifest
from receiver.spool.manifest import RECEIVING, ManifestError

if TYPE_CHECKING:
    from receiver.spool.dumps import Spool
    from receiver.spool.recovery import Mended
    from receiver.spool.retention import Policy
    from receiver.spool.space import Limits


def open_spool(settings: Settings) -> Spool:
    """The spool of the settings, its directories made."""
    from receiver.spool.dumps import Spool  # a listing that is not behind does without

    try:
        return Spool(settings.root, settings.state)
    except OSError as error:
        raise Failure(
            f"{error.filename}: {error.strerror}; see `root` and `state_dir` in the settings"
        ) from None


def limits_of(settings: Settings) -> Limits:
    """What the settings allow to be written."""
    from receiver.spool.space import Limits

    return Limits(
        max_dump_bytes=settings.max_dump_bytes,
        keep_free=settings.keep_free,
        max_use=settings.max_use,
        host_quota=settings.host_quota,
        quotas=settings.quota,
        dumps_per_host=settings.dumps_per_host,
    )


def policy_of(settings: Settings) -> Policy:
    """What the settings say of how long it stays."""
    from receiver.spool.retention import Policy

    rules = settings.retention
    return Policy(
        core_seconds=rules.core_age,
        dump_seconds=rules.dump_age,
        cores_per_host=rules.cores_per_host,
        cores_per_group=rules.cores_per_group,
        keep=frozenset(rules.keep),
        evict=rules.evict,
        storm_cores=rules.storm_cores,
        storm_seconds=rules.storm_window,
    )


def open_catalogue(settings: Settings) -> Catalogue:
    """The catalogue of the settings, its tables up to date."""
    return Catalogue(settings.catalogue_url, settings.state)


@contextmanager
def catalogue_of(settings: Settings) -> Iterator[Catalogue]:
    """The catalogue for one command, brought up to the spool."""
    with contextlib.closing(open_catalogue(settings)) as catalogue:
        if behind.marked(settings.state):
            catch_up(open_spool(settings), catalogue)
        yield catalogue


def enlist(
    spool: Spool,
    catalogue: Catalogue,
    directory: str,
    *,
    receiving: bool = False,
    announce: bool = True,
    reports: bool = True,
) -> list[Event]:
    """Bring one dump's row up to its manifest, as that is now: other processes may write it, too.

    `receiving` says that its core is on its way; `announce`, that the journal tells what is new,
    `reports`, that a report that says something else is new. The events that it told.
    """
    from receiver.spool import usage

    try:
        with spool.changing(directory) as path:
            dump = manifest.load(path)
            if receiving and not any(file.core for file in dump.files):
                dump = replace(dump, verdict=RECEIVING)
            usage.enter(spool.ledger, spool.root, dump)
            told = catalogue.record(dump, announce=announce, reports=reports)
            spool.caught_up(directory)
    except FileNotFoundError:  # an operator, or retention, took it away
        with spool.ledger.changing() as transaction:
            transaction.forget(directory)
        catalogue.forget([directory])
        spool.caught_up(directory)
        return []
    return told


def catch_up(spool: Spool, catalogue: Catalogue) -> None:
    """List what a process that was killed, or a catalogue that was away, left unlisted."""
    for directory in spool.behind():
        with contextlib.suppress(ManifestError):  # the next start makes it anew
            enlist(spool, catalogue, directory)


def mend(
    spool: Spool,
    catalogue: Catalogue,
    now: float,
    trouble: Callable[[Path, Exception], None],
    *,
    every_row: bool = False,
) -> Iterator[Mended]:
    """Bring every dump in order, and the rows that are behind (or every one); gives each dump.

    A directory that cannot be mended is told to `trouble`, and the others are. An empty catalogue
    that is filled anew from an old spool announces none of its dumps, but those that nobody listed.
    """
    from receiver.spool import recovery, usage  # it judges dumps, so it needs every reader of them

    recovery.sweep(spool, now)
    spool.ledger.mend()
    counted = {row.directory: row for row in spool.ledger.dumps()}
    known = catalogue.known()
    lost, unlisted = not known, set(spool.behind())
    for directory in spool.directories():
        row = known.pop(directory.name, None)
        use = counted.pop(directory.name, None)
        try:
            mended = recovery.mend(spool, directory, now)
            if mended is None:
                continue
            recovery.bind_names(spool, mended.dump)
            true = usage.row(directory, mended.dump)
            if every_row or row != recovery.document(mended.dump) or use != true:
                new = not lost or directory.name in unlisted
                enlist(spool, catalogue, directory.name, announce=new)
        except (OSError, ValueError, Failure) as error:
            trouble(directory, error)
        else:
            yield mended
    with spool.ledger.changing() as transaction:
        for name in counted:
            if not (spool.root / name).exists():
                transaction.forget(name)
    catalogue.forget(name for name in known if not (spool.root / name).exists())
    catch_up(spool, catalogue)
