"""The overview: what is going on, in the order in which somebody called at night wants to know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from receiver.catalogue.brief import Brief
from receiver.spool.incoming import Incoming
from receiver.web.views import words
from receiver.web.views.crashes import GroupRow, Timeline, timeline
from receiver.web.views.dump import DumpRow, dump_rows
from receiver.web.views.fence import Fence, Node
from receiver.web.views.hosts import HostRow, Known, rows
from receiver.web.views.space import SpacePage
from receiver.web.views.uploads import Upload, uploads

DAY: Final = 86_400
GROUPS: Final = 8
CONCERNS: Final = 6
# What stands in the list of hosts to look at, the worst first.
URGENT: Final = ("test failed", "blocked", "quiet")


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it."""

    summary: str
    uploads: tuple[Upload, ...]
    timeline: Timeline
    groups: tuple[GroupRow, ...]
    group_count: int
    dumps: tuple[DumpRow, ...]
    dump_count: int
    room: SpacePage
    hosts: tuple[HostRow, ...]  # that want a look
    host_count: int
    heard_today: int
    untested: int
    fence: Fence
    fence_is_set: bool
    fenced: tuple[Node, ...]  # nodes that are not quiet

    @property
    def is_new(self) -> bool:
        """Nothing has come yet, and nobody may come."""
        return not self.dump_count and not self.uploads and not self.host_count


def overview(
    *,
    notes: Sequence[Incoming],
    dumps: Sequence[Brief],
    listed: int,
    groups: Sequence[GroupRow],
    room: SpacePage,
    known: Known,
    fence: Fence,
    fence_is_set: bool,
    now: float,
) -> Overview:
    """The view. `dumps` are all, newest first; `groups` sorted as they shall stand."""
    hosts = rows(known, now)
    under_way = uploads(notes, now)
    urgent = [host for concern in URGENT for host in hosts if host.concern == concern]
    live = {note.dump for note in notes}
    # What is on its way stands above, once.
    rest = [dump for dump in dumps if dump.id not in live]
    return Overview(
        summary=_summary(under_way, dumps, groups, now),
        uploads=under_way,
        timeline=timeline(groups, now),
        groups=tuple(groups[:GROUPS]),
        group_count=len(groups),
        dumps=dump_rows(rest[:listed], now),
        dump_count=len(dumps),
        room=room,
        hosts=tuple(urgent[:CONCERNS]),
        host_count=len(hosts),
        heard_today=sum(1 for host in hosts if host.contact and now - host.contact.seconds < DAY),
        untested=sum(1 for host in hosts if host.concern == "never tested"),
        fence=fence,
        fence_is_set=fence_is_set,
        fenced=tuple(node for node in fence.nodes if node.state != "quiet"),
    )


def _summary(
    under_way: Sequence[Upload], dumps: Sequence[Brief], groups: Sequence[GroupRow], now: float
) -> str:
    """One sentence that changes rarely: screen readers say it when it does."""
    since = words.moment(now - DAY, now).iso
    today = Counter(dump.verdict for dump in dumps if dump.date >= since and dump.verdict != "receiving")
    parts = [words.count(len(under_way), "upload") + " under way" if under_way else "No upload under way"]
    if today:
        stored = words.count(sum(today.values()), "dump")
        broken = today["truncated"] + today["damaged"]
        parts.append(f"{stored} in 24 hours" + (f", {broken} of them not whole" if broken else ""))
    else:
        parts.append("no dump in 24 hours")
    new = sum(1 for group in groups if now - group.first_seen.seconds < DAY)
    if new:
        parts.append(f"{words.count(new, 'group')} never seen before")
    return " · ".join(parts)
