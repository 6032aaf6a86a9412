"""Twelve kinds of real crashes, and a distribution's own, get their reason from the log that came along."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.triage.answer import triage_untrusted

pytestmark = pytest.mark.shared

BUG = "BUG: unable to handle kernel"
KINDS = {
    "bug": ("bug", "kernel BUG in crash_as", "crash_as", "kernel BUG at crashlab.c:89!"),
    "hungtask": (
        "hung-task",
        "INFO: task hung in block_fn",
        "block_fn",
        "INFO: task crashlab-block:51 blocked",
    ),
    "kworker": (
        "null",
        f"{BUG} NULL pointer dereference in deref_null",
        "deref_null",
        "BUG: kernel NULL pointer",
    ),
    "listcorrupt": ("list-corruption", "BUG: corrupted list in crash_as", "crash_as", "list_add corruption."),
    "nmi": ("nmi", "NMI received for unknown reason", None, "Uhhuh. NMI received for unknown reason 21"),
    "null": (
        "null",
        f"{BUG} NULL pointer dereference in deref_null",
        "deref_null",
        "BUG: kernel NULL pointer",
    ),
    "oom": (
        "oom",
        "kernel panic: Out of memory: compulsory panic_on_oom is enabled",
        None,
        "Kernel panic - not syncing: Out of memory",
    ),
    "paging": ("paging", f"{BUG} paging request in crash_as", "crash_as", "BUG: unable to handle page fault"),
    "rcustall": (
        "rcu-stall",
        "INFO: rcu detected stall in rcu_fn",
        "rcu_fn",
        "rcu: INFO: rcu_sched detected stalls",
    ),
    "stackovf": (
        "stack-overflow",
        "BUG: stack guard page was hit in recurse",
        "recurse",
        "BUG: TASK stack guard",
    ),
    "sysrq": ("sysrq", "kernel panic: sysrq triggered crash", None, "Kernel panic - not syncing: sysrq"),
    "warn": ("warning", "WARNING in crash_as", "crash_as", "WARNING: CPU: 0 PID: 1 at crashlab.c:119"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_crash_is_named(shared: Path, kind: str) -> None:
    """Class, title, function, module of the culprit, kernel, and the line it says so in."""
    crash_class, title, function, line = KINDS[kind]
    report = triage_untrusted((shared / "vmcores" / "kinds" / f"{kind}.dmesg.txt").read_bytes())
    assert (report.crash_class, report.title, report.function) == (crash_class, title, function)
    assert report.module == ("crashlab" if function else None)
    assert report.kernel == "6.1.192-tiny"
    assert report.lines[0].text.startswith(line)


def test_every_kind_at_hand_is_looked_at(shared: Path) -> None:
    """A new kind in the collection needs its line here."""
    assert {path.name.split(".")[0] for path in (shared / "vmcores" / "kinds").glob("*.flat")} == set(KINDS)


def test_a_distributions_crash_says_where_it_ran(shared: Path) -> None:
    """Debian's own kernel: release, machine, task."""
    report = triage_untrusted((shared / "vmcores" / "debian-stock" / "m640.dmesg").read_bytes())
    assert (report.crash_class, report.kernel) == ("sysrq", "6.1.0-56-cloud-amd64")
    assert (report.comm, report.pid, report.cpu, report.taint) == ("sh", 433, 0, "")
    assert (report.hardware or "").startswith("QEMU Standard PC (Q35 + ICH9, 2009)")


def test_the_clients_log_and_makedumpfiles_give_one_signature(shared: Path) -> None:
    """vmcore-dmesg indents the later lines of a record, makedumpfile does not."""
    folder = shared / "vmcores" / "variants"
    ours, theirs = (
        triage_untrusted((folder / name).read_bytes())
        for name in ("vmcore-dmesg.txt", "dmesg.makedumpfile.txt")
    )
    assert (ours.title, ours.signature) == (theirs.title, theirs.signature)
