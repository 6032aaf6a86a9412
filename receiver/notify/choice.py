"""Which entries of the journal a target is told of. Sans-IO."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from receiver.catalogue.journal import Entry
from receiver.events import GaveUp, GroupAppeared, Reported, UploadFailed, UploadFinished
from receiver.targets import Block, Fence, Target


def wants(target: Target, entry: Entry) -> bool:
    """Whether `target` asked for this.

    A filter by host, class or verdict lets only entries pass that have one. Nobody is told that
    his own notifications were given up: they would be given up, too.
    """
    if isinstance(target, Fence):
        return _of_host(target.hosts, entry) and _ends_upload(entry)
    if entry.name == GaveUp.name and entry.fields.get("target") == target.name:
        return False
    return (
        _named(target, entry)
        and _of_host(target.hosts, entry)
        and (not target.classes or entry.fields.get("crash_class") in target.classes)
        and (not target.verdicts or entry.fields.get("verdict") in target.verdicts)
    )


def _named(target: Block, entry: Entry) -> bool:
    """With `new_group`, a report is told of only where it is the first of its group."""
    if target.new_group and entry.name in {Reported.name, GroupAppeared.name}:
        return entry.name == GroupAppeared.name
    return any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in target.events)


def _of_host(patterns: Sequence[str], entry: Entry) -> bool:
    if "*" in patterns:
        return True
    return entry.host is not None and any(fnmatch.fnmatchcase(entry.host, pattern) for pattern in patterns)


def _ends_upload(entry: Entry) -> bool:
    """The beats while it runs are told from its note; a README says nothing of the dump."""
    if entry.name == UploadFinished.name:
        return bool(entry.fields.get("core", True))
    return entry.name == UploadFailed.name
