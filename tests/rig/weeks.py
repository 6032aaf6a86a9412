"""A fleet's weeks, for screenshots: real crashes of many kinds, sent by hosts with believable names.

The dumps are those beside the checkout (../shared) where they are there, else the one that the checkout
carries and the hand-written logs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from receiver.spool.clock import iso
from receiver.spool.manifest import Manifest
from receiver.spool.view import View
from receiver.spool.writer import Upload
from receiver.wire.paths import parse_untrusted
from tests.builders.collection import DAY, Collection
from tests.builders.uploads import Host

DATA = Path(__file__).parent.parent / "data"
SHARED = DATA.parent.parent.parent / "shared" / "vmcores"
HOSTS = ("web01", "web02", "web03", "web07", "db-a1", "db-a2", "kvm04", "kvm05", "ceph-osd3", "build2")
# Kind of crash: the hosts that have it, how many days ago.
STORY: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("listcorrupt", "kvm04", (25, 21, 18, 12, 9, 4.2, 1.1)),
    ("null", "web01", (16, 6.1, 2.2, 0.9)),
    ("null", "web02", (5.4, 1.8, 0.4)),
    ("null", "web03", (3.3, 0.15)),
    ("rcustall", "db-a1", (28, 20.5, 13, 5.1)),
    ("hungtask", "ceph-osd3", (23, 22.4, 10)),
    ("oom", "build2", (19, 11, 7, 2.6)),
    ("paging", "web07", (8.2, 0.03)),
    ("nmi", "kvm05", (14,)),
    ("stackovf", "db-a2", (6.6,)),
    ("sysrq", "web02", (27,)),
)


@dataclass
class Fleet:
    """What was made, and the uploads that are still open."""

    collection: Collection
    open: list[Upload]


def fleet(directory: Path) -> Fleet:
    """Make it below `directory`."""
    made = Collection(directory)
    chance = random.Random(7)
    for number, name in enumerate(HOSTS):
        seen = {"build2": 41.0, "kvm05": 0.2}.get(name, chance.random() * 0.9)
        made.enrol(name, seen_days_ago=seen, peer=f"10.4.{number // 4}.{20 + number}")
    for name in HOSTS:
        if name not in {"build2", "db-a2"}:
            made.test(name, succeeded=name != "ceph-osd3", days_ago=30 + chance.random() * 9)
    for kind, host, days in STORY:
        core, log = _crash(kind)
        for ago in days:
            broken = "the connection was lost" if (host, ago) == ("kvm04", 4.2) else None
            sent = core[: len(core) * 2 // 3] if broken else core
            _dated(made, made.crash(host, log, days_ago=ago, core=sent, broken=broken), ago)
    return Fleet(made, [_begin(made, "web03", 0.62, 41), _begin(made, "db-a1", 0.18, 9)])


def _dated(made: Collection, dump: Manifest, days_ago: float) -> None:
    """All crashes of one kind are one crash in truth: its time becomes the story's."""
    dump = replace(dump, crash_time=iso(made.now - days_ago * DAY - 40))
    made.spool.write(dump)
    made.catalogue.record(dump)


def _crash(kind: str) -> tuple[bytes, bytes]:
    if SHARED.is_dir():
        return (SHARED / "kinds" / f"{kind}.flat").read_bytes(), (
            SHARED / "kinds" / f"{kind}.dmesg.txt"
        ).read_bytes()
    log = DATA / "oopses" / f"{kind}.txt"
    return (DATA / "vmcore.flat").read_bytes(), log.read_bytes() if log.is_file() else b""


def _begin(made: Collection, host: str, part: float, seconds: float) -> Upload:
    """An upload under way, as far as `part`, since `seconds`."""
    core, _ = _crash("null")
    clock = [made.now - seconds]
    sender = Host(made.spool, host, clock=lambda: clock[0])
    view: View = sender.view
    upload = view.begin(parse_untrusted(f"/var/crash/10.4.0.9-{host}/vmcore-incomplete"), "dd")
    made.catalogue.record(upload.dump)
    clock[0] = made.now
    upload.write(core[: int(len(core) * part)])
    return upload
