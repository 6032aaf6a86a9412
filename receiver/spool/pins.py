"""To pin a dump: no rule and no lack of space takes its core. The manifest says so."""

from __future__ import annotations

from dataclasses import replace

from receiver.spool import manifest, usage
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest, Pin

NOTE_MAX = 200  # characters


def pin(spool: Spool, directory: str, at: str, by: str, note: str = "") -> Manifest:
    """Pin a dump, or give its pin another note. `at` is UTC, ISO 8601. Raises OSError, ManifestError."""
    with spool.changing(directory) as path:
        dump = manifest.load(path)
        dump = replace(dump, pinned=Pin(at, by, note[:NOTE_MAX])).noted(at, "pinned", f"by {by}: {note}")
        spool.write(dump)
        usage.enter(spool.ledger, spool.root, dump)
    return dump


def unpin(spool: Spool, directory: str, at: str, by: str) -> Manifest:
    """Leave a dump to the rules again. Raises OSError, ManifestError."""
    with spool.changing(directory) as path:
        dump = manifest.load(path)
        if dump.pinned is not None:
            dump = replace(dump, pinned=None).noted(at, "unpinned", f"by {by}")
            spool.write(dump)
            usage.enter(spool.ledger, spool.root, dump)
    return dump
