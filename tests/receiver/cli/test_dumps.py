"""list, info, verify, rebuild, config check: the command itself, in a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.catalogue.store import Catalogue
from receiver.cli.main import group
from receiver.cli.shown import human
from receiver.failure import Failure
from receiver.spool import manifest
from receiver.spool.dumps import Spool
from receiver.stores import enlist
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump
from tests.rig.receiver import PROGRAM

STREAM = flattened.stream(Kdump({n: os.urandom(4096) for n in range(8)}, release="6.1.0-test").writes())
EVIL = "[red]x[/red]\\[bold]"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A spool with two hosts' dumps: one whole, one broken off."""
    spool = Spool(tmp_path, tmp_path / ".state")
    catalogue = Catalogue(f"sqlite:///{tmp_path / '.state' / 'catalogue.sqlite'}", tmp_path / ".state")
    whole = uploads.Host(spool, "web01").send("/var/crash/h-1/vmcore.flat", STREAM)
    broken = uploads.Host(spool, "db01", clock=uploads.ticking(uploads.NOW + 86400)).send(
        f"/var/crash/{EVIL}/vmcore", STREAM[:-5000], broken="connection lost"
    )
    for stored in (whole, broken):
        enlist(spool, catalogue, stored.dump.directory)
    catalogue.close()
    return tmp_path


def run(root: Path, *arguments: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(group, ["--root", str(root), *arguments], standalone_mode=False)


def test_list_json_has_what_programs_ask_for(root: Path) -> None:
    result = run(root, "list", "--json")
    assert result.return_value == 0
    newest, oldest = json.loads(result.stdout)
    assert {"id", "host", "date", "directory", "client", "verdict"} <= set(oldest)
    assert {"kernel_release", "build_id", "crash_time", "files"} <= set(oldest)
    assert (oldest["host"], oldest["directory"], oldest["verdict"]) == ("web01", "h-1", "complete")
    assert oldest["kernel_release"] == "6.1.0-test"
    (file,) = oldest["files"]
    assert {"name", "bytes", "sha256", "kind", "verdict"} <= set(file)
    assert (file["name"], file["bytes"]) == ("vmcore", len(flattened.image(STREAM)))
    assert newest["verdict"] == "truncated"


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        (["--host", "web01"], ["web01"]),
        (["--verdict", "truncated"], ["db01"]),
        (["--since", "2023-11-15T12:00:00+00:00"], ["db01"]),
        (["-n", "1"], ["db01"]),
        (["--since", "2h"], []),
        (["--since", "999999 weeks ago"], ["db01", "web01"]),
        (["--host", "nobody"], []),
    ],
)
def test_filters_narrow_and_no_match_is_status_1(root: Path, arguments: list[str], hosts: list[str]) -> None:
    result = run(root, "list", "--json", *arguments)
    assert [dump["host"] for dump in json.loads(result.stdout)] == hosts
    assert result.return_value == (0 if hosts else 1)


@pytest.mark.parametrize("text", ["5 months", "soon", "99999999999999d", "0001-01-01"])
def test_a_time_that_is_none_is_said(root: Path, text: str) -> None:
    """`5 months` must not be taken for five minutes."""
    result = run(root, "list", "--since", text)
    assert result.exit_code != 0
    assert "say 2h, 3d, today" in str(result.exception)


def test_no_verb_lists_and_hostile_names_stay_what_they_are(root: Path) -> None:
    """In a pipe: every column whole, no colour, no markup obeyed."""
    spool = Spool(root, root / ".state")
    with spool.changing("h-1") as path:
        dump = replace(manifest.load(path), kernel_release="6.1\x1b[31m\r\n", title=EVIL)
        spool.write(dump)
    out = run(root).stdout
    assert "\x1b" not in out
    assert "\r" not in out
    assert EVIL in out
    assert len(out.splitlines()) == 3
    shown = run(root, "info", "h-1").stdout
    assert "\x1b" not in shown
    assert EVIL in shown


def test_info_takes_the_beginning_of_an_id(root: Path) -> None:
    """One match shows it, none is status 1, several are said."""
    ids = [dump["id"] for dump in json.loads(run(root, "list", "--json").stdout)]
    assert json.loads(run(root, "info", "--json", ids[0][:6]).stdout)["id"] == ids[0]
    assert json.loads(run(root, "info", "--json", "h-1").stdout)["id"] == ids[1]
    assert "6.1.0-test" in run(root, "info", ids[1]).stdout
    assert run(root, "info", "zzz").return_value == 1
    several = run(root, "info", "")
    assert isinstance(several.exception, Failure)
    assert "more than one" in str(several.exception)


def test_verify_finds_a_flipped_byte(root: Path) -> None:
    """Status 0, and 2 after one bit changed; the deep check says which page."""
    assert run(root, "verify", "h-1").return_value == 0
    assert run(root, "verify", "--deep", "h-1").return_value == 0
    vmcore = root / "h-1" / "vmcore"
    data = bytearray(vmcore.read_bytes())
    data[-100] ^= 1
    vmcore.write_bytes(data)
    result = run(root, "verify", "--json", "h-1")
    assert result.return_value == 2
    assert json.loads(result.stdout)["files"][0]["sha256"] == "differs"
    vmcore.unlink()
    result = run(root, "verify", "h-1")
    assert result.return_value == 2
    assert "No such file or directory" in result.stdout


def test_rebuild_needs_the_directories_alone(root: Path) -> None:
    before = run(root, "list", "--json").stdout
    for path in (root / ".state").glob("catalogue.sqlite*"):
        path.unlink()
    assert run(root, "list", "--json").stdout.strip() == "[]"
    assert json.loads(run(root, "rebuild", "--json").stdout) == {"dumps": 2}
    assert run(root, "list", "--json").stdout == before


def on_terminal(*arguments: str) -> tuple[int, bytes]:
    """The program with a terminal of its own; its status and what it showed."""
    ours, theirs = pty.openpty()
    command = [str(PROGRAM), *arguments]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(60), shown


def test_bars_and_colours_only_on_a_terminal(root: Path) -> None:
    """The same verb in a pipe shows neither."""
    status, shown = on_terminal("--root", str(root), "verify", "--deep", "h-1")
    assert status == 0
    assert b"\x1b[" in shown
    command = [str(PROGRAM), "--root", str(root), "verify", "--deep", "h-1"]
    piped = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert b"\x1b" not in piped.stdout + piped.stderr


def test_human_sizes() -> None:
    """As `ls -h` says them."""
    sizes = (0, 1023, 1024, 10 << 20, 3 << 40)
    assert [human(size) for size in sizes] == ["0B", "1023B", "1.0K", "10M", "3.0T"]
