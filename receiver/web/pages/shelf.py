"""What the stores say, read for the pages: everything here blocks and runs in a thread.

Lists that cost a file a host are kept for some seconds: many eyes on one page cost as much as one.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from receiver import reports, stores
from receiver.catalogue.brief import Brief, occurrences
from receiver.catalogue.store import Query
from receiver.hosts.contacts import Contacts
from receiver.spool import incoming, live, pins
from receiver.spool.clock import iso
from receiver.spool.incoming import Incoming
from receiver.spool.manifest import Manifest
from receiver.spool.summary import summary
from receiver.spool.view import STATUS, STATUS_MAX
from receiver.triage import report
from receiver.triage.report import Report
from receiver.web.desk import Desk
from receiver.web.views import crashes
from receiver.web.views.crashes import GroupRow
from receiver.web.views.fence import Fence
from receiver.web.views.hosts import Known, Trial, status_file, trial_untrusted
from receiver.web.views.space import Removed, SpacePage, space_page

HOSTS_SECONDS: Final = 10.0  # that the list of hosts is kept
LOG_MAX: Final = 48 << 20  # bytes of a log file that are read
TRIALS_MOST: Final = 20_000
GOING_MOST: Final = 10  # cores that go next, which are shown
PRUNED_MOST: Final = 20_000  # events of the journal, for the plot of space over time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DumpOnDisk:
    """A dump and what lies beside it."""

    dump: Manifest
    report: Report | None
    report_trouble: str
    log: bytes | None
    notes: tuple[Incoming, ...]


class Shelf:
    """Reads for the pages; one for the process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}
        self._contacts = Contacts(desk.settings.state)

    def live(self) -> list[Incoming]:
        """The notes of every upload under way."""
        settings = self._desk.settings
        return list(live.uploads(settings.root, time.time(), settings.silence_seconds))

    def _notes(self, directory: str) -> list[Incoming]:
        growing = filter(incoming.is_live, incoming.growing(self._desk.spool.root / directory))
        return [note for path in growing if (note := incoming.read(path))]

    def last_event(self) -> int:
        """The journal's newest id: while it stays, little has happened."""
        return self._desk.journal.last_id()

    def briefs(self, query: Query) -> list[Brief]:
        """Dumps for a list."""
        return self._desk.catalogue.briefs(query)

    def groups(self, now: float, signature: str | None = None) -> tuple[GroupRow, ...]:
        """The groups, or those that begin so."""
        return crashes.group_rows(occurrences(self.briefs(Query(signature=signature))), now)

    def room(self, dumps: list[Brief], now: float) -> SpacePage:
        """The space, with `dumps` all that are listed."""
        settings = self._desk.settings
        limits, policy = stores.limits_of(settings), stores.policy_of(settings)
        found = summary(self._desk.spool, limits, policy, now, most=GOING_MOST)
        return space_page(found, dumps, self._while_fresh("removed", self._removed), now)

    def _removed(self) -> list[Removed]:
        """What was pruned, as the journal remembers it; when its dump came, too."""
        journal = self._desk.journal
        pruned = journal.newest(PRUNED_MOST, names=("dump.pruned",))
        if not pruned:
            return []
        came = {entry.dump: entry.time for entry in journal.newest(PRUNED_MOST, names=("upload.finished",))}
        return [
            Removed(_epoch(came.get(entry.dump, entry.time)), _epoch(entry.time), int(entry.fields["bytes"]))
            for entry in pruned
        ]

    def pin(self, directory: str, by: str, note: str) -> Manifest:
        """Keep a dump whatever the rules say. Raises OSError, ManifestError."""
        dump = pins.pin(self._desk.spool, directory, iso(time.time()), by, note)
        stores.enlist(self._desk.spool, self._desk.catalogue, directory)
        return dump

    def unpin(self, directory: str, by: str) -> None:
        """Leave it to the rules again."""
        pins.unpin(self._desk.spool, directory, iso(time.time()), by)
        stores.enlist(self._desk.spool, self._desk.catalogue, directory)

    def known(self, receiving: list[Incoming], fence: Fence, name: str | None = None) -> Known:
        """All that is known of hosts; of the host `name` as it is this moment."""
        enrolled, blocks, contacts, trials, dumps = self._while_fresh("hosts", self._hosts)
        if name is not None:
            now = self._desk.keys.host(name)
            enrolled = [*(host for host in enrolled if host.name != name), *[now][: bool(now.keys)]]
            contact = self._contacts.of(name)
            contacts = contacts | ({name: contact} if contact else {})
        hosts = [note.host for note in receiving]
        return Known(enrolled, blocks, contacts, trials, dumps, hosts, fence)

    def _hosts(self) -> tuple[Any, ...]:
        blocks = {block.name: block for block in self._desk.keys.blocks.all()}
        return (
            self._desk.keys.hosts(),
            blocks,
            self._contacts.all(),
            self._trials(),
            self.briefs(Query()),
        )

    def _trials(self) -> list[Trial]:
        found = []
        for dump in self._desk.catalogue.find(Query(file=STATUS, most=TRIALS_MOST)):
            file = status_file(dump)
            if file is None or file.bytes > STATUS_MAX:
                continue
            with suppress(OSError):  # taken away just now
                content = (self._desk.spool.root / dump.directory / file.name).read_bytes()
                if trial := trial_untrusted(dump, file, content):
                    found.append(trial)
        return sorted(found, key=lambda trial: trial.at, reverse=True)

    def forget(self) -> None:
        """Something was changed from a page: the next look is at the stores."""
        with self._lock:
            self._kept.clear()

    def dump(self, id: str) -> DumpOnDisk | list[Manifest]:  # noqa: A002  # the field's word
        """The dump that `id` names; else those that it might be, or none."""
        found = list(self._desk.catalogue.find(Query(id=id, most=2)))
        exact = [dump for dump in found if id in {dump.id, dump.directory}]
        if len(exact or found) != 1:
            return found
        (dump,) = exact or found
        directory = self._desk.spool.root / dump.directory
        log, trouble, told = None, "", None
        with suppress(OSError), (directory / reports.LOG).open("rb") as file:
            log = file.read(LOG_MAX)
        try:
            told = report.from_json_untrusted((directory / reports.REPORT_JSON).read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, report.ReportError) as error:
            trouble = f"report.json cannot be read: {error}; `kdump-receiver regroup` writes it anew"
        return DumpOnDisk(dump, told, trouble, log, tuple(self._notes(dump.directory)))

    def _while_fresh(self, name: str, look: Callable[[], T]) -> T:
        with self._lock:  # the others wait for the one that looks
            at, value = self._kept.get(name, (0.0, None))
            if value is None or time.monotonic() - at > HOSTS_SECONDS:
                value = look()
                self._kept[name] = (time.monotonic(), value)
            kept: T = value
            return kept


def _epoch(stamp: str) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp()
