"""What a person's terminal gets: bars while it takes long, colours unless unwanted, nothing that it obeys."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from receiver import reports
from receiver.settings import Settings
from receiver.spool import manifest
from receiver.spool.dumps import Spool
from receiver.stores import enlist, open_catalogue
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump
from tests.rig.receiver import PROGRAM
from tests.rig.terminal import Terminal

STREAM = flattened.stream(Kdump({n: os.urandom(4096) for n in range(64)}).writes())
# What a crashed machine may have said: erase, title, C1's CSI, a turn of direction, a bell.
OBEYED = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
LOG = f"""\
[    1.000000] Linux version 6.1.0 {OBEYED}
[    2.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    2.000001] CPU: 0 PID: 7 Comm: ev{OBEYED}il Not tainted 6.1.0 #1
[    2.000002] Hardware name: Box {OBEYED}, BIOS 1
[    2.000003] RIP: 0010:acme_poll+0x1/0x2 [acme]
[    2.000004] Call Trace:
[    2.000005]  acme_{OBEYED}x+0x1/0x2
[    2.000006] Kernel panic - not syncing: {OBEYED} Fatal exception
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two dumps whose logs hold what terminals obey."""
    spool, settings = Spool(tmp_path, tmp_path / ".state"), Settings(root=tmp_path)
    catalogue = open_catalogue(settings)
    for name in ("h-1", "h-2"):
        host = uploads.Host(spool, "web01")
        host.send(f"/var/crash/{name}/vmcore.flat", STREAM)
        host.send(f"/var/crash/{name}/vmcore-dmesg.txt", LOG.replace("acme", name.replace("-", "_")).encode())
        dump = reports.write(spool, name, "2026-11-23T00:00:00Z")
        with spool.changing(name) as directory:
            spool.write(replace(manifest.load(directory), kernel_release=f"6.1{OBEYED}", hardware=OBEYED))
        enlist(spool, catalogue, dump.directory)
    catalogue.close()
    (tmp_path / "log.txt").write_text(LOG)
    return tmp_path


VERBS = (
    ("list",),
    ("info", "h-1"),
    ("verify", "h-1"),
    ("groups",),
    ("log", "h-1"),
    ("triage", "h-1"),
    ("triage", "--json", "h-1"),
    ("explain", "h-1"),
    ("diff", "h-1", "h-2"),
)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_terminal_never_gets_what_it_would_obey(root: Path, verb: tuple[str, ...]) -> None:
    """Whatever a crashed machine, a client or a log has said."""
    with Terminal([str(PROGRAM), "--root", str(root), *verb], columns=200) as terminal:
        assert terminal.end() in {0, 2}
        raw = terminal.raw.decode()
    for obeyed in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e"):
        assert obeyed not in raw, repr(obeyed)
    piped = run(root, *verb)
    if verb[0] != "log":  # byte for byte, for programs
        assert all(c.isprintable() or c in "\n\t" for c in piped.stdout + piped.stderr)


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a pipe."""
    command = [str(PROGRAM), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "verb",
    [("verify", "--deep", "h-1"), ("rebuild",), ("regroup",), ("triage", "h-1"), ("log", "h-1")],
    ids=" ".join,
)
def test_what_takes_long_says_how_far_it_is(root: Path, verb: tuple[str, ...]) -> None:
    """On a terminal only, and it leaves nothing behind there."""
    with Terminal([str(PROGRAM), "--root", str(root), *verb], columns=200, lines=100) as terminal:
        assert terminal.end() == 0
        assert b"\x1b[?25l" in terminal.raw, "no bar was drawn"
        assert not any(bar in terminal.shown for bar in "━⠋⠙⠹")
    assert "\x1b[?25l" not in (piped := run(root, *verb)).stdout + piped.stderr


@pytest.mark.parametrize(("environment", "colours"), [({}, {"green"}), ({"NO_COLOR": "1"}, {"default"})])
def test_no_color_is_honoured(root: Path, environment: dict[str, str], colours: set[str]) -> None:
    """no-color.org: with it set, whatever its value, no colour."""
    command = [str(PROGRAM), "--root", str(root), "list"]
    with Terminal(command, columns=200, environment=environment) as terminal:
        terminal.end()
        assert terminal.colours("complete") == colours


def test_a_narrow_terminal_cuts_no_id(root: Path) -> None:
    """What is copied must be whole; titles and directories fold."""
    ids = [dump.id for dump in map(manifest.load, (root / "h-1", root / "h-2"))]
    with Terminal([str(PROGRAM), "--root", str(root), "list"], columns=80) as terminal:
        terminal.end()
        assert all(one in terminal.shown for one in ids)
