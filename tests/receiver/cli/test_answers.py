"""`log`, `triage`, `explain`, `groups`, `group`, `diff`, `regroup`: what stored dumps answer."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.receiver import Client, Receiver

TITLE = "kernel panic: sysrq triggered crash"
SECONDS = 30  # in which a report must be written; it takes parts of one


@pytest.fixture(scope="module")
def collector(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A server with the same crash of two hosts, and a dump that broke off, reported."""
    directory = tmp_path_factory.mktemp("answers")
    (directory / "overrides.toml").touch()
    with Receiver(directory, f'overrides = "{directory}/overrides.toml"') as receiver:
        whole = (data / "vmcore.flat").read_bytes()
        for host, sent in (("web01", whole), ("db01", whole), ("db02", whole[: len(whole) * 97 // 100])):
            client = Client.enrolled(receiver, host)
            client.ssh("mkdir -p /v/10.0.0.7-2026 && cat > /v/10.0.0.7-2026/vmcore", stdin=sent)
        deadline = time.monotonic() + SECONDS
        while not all(dump["crash_class"] for dump in receiver.dumps()):
            assert time.monotonic() < deadline, receiver.log.read_text()
        yield receiver


def of(collector: Receiver, host: str) -> dict[str, str]:
    (dump,) = collector.dumps("--host", host)
    return dump


def test_a_stored_dump_says_why_it_crashed(collector: Receiver) -> None:
    """In `list --json`, in report.json and report.txt beside the vmcore, and in the server's log."""
    dump = of(collector, "web01")
    assert (dump["title"], dump["crash_class"]) == (TITLE, "sysrq")
    directory = Path(dump["path"])
    assert json.loads((directory / "report.json").read_bytes())["signature"] == dump["signature"]
    assert TITLE in (directory / "report.txt").read_text()
    assert f'title="{TITLE}"' in collector.log.read_text()


def test_the_log_is_that_of_makedumpfile(collector: Receiver, tmp_path: Path) -> None:
    """`log ID`, and log.txt beside the vmcore, byte for byte."""
    dump = of(collector, "web01")
    theirs = tmp_path / "dmesg"
    command = ["makedumpfile", "--dump-dmesg", f"{dump['path']}/vmcore", str(theirs)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert collector.cli("log", dump["id"]).stdout == theirs.read_text()
    assert (Path(dump["path"]) / "log.txt").read_bytes() == theirs.read_bytes()


def test_a_broken_upload_still_says_why(collector: Receiver) -> None:
    """Cut at 97 %: no reader of whole dumps opens it, but the pages of the log had come."""
    dump = of(collector, "db02")
    assert dump["verdict"] == "truncated"
    assert dump["title"] == TITLE


def test_the_same_crash_of_two_hosts_is_one_group(collector: Receiver) -> None:
    """The hosts that crashed alike are named; so they are in the broken upload."""
    (group,) = json.loads(collector.cli("groups", "--json").stdout)
    assert (group["count"], sorted(group["hosts"])) == (3, ["db01", "db02", "web01"])
    shown = collector.cli("group", group["signature"][:6]).stdout
    assert TITLE in shown
    assert "db01" in shown
    assert TITLE in collector.cli("groups").stdout
    assert "3x" in collector.cli("groups", "--by", "reason").stdout
    assert collector.cli("group", "ffff", check=False).returncode == 1


def test_explain_names_the_rule_and_the_line(collector: Receiver) -> None:
    """Of a stored dump by its ID, too."""
    told = collector.cli("explain", of(collector, "web01")["id"]).stdout
    assert "Headline read by rule" in told
    assert "Kernel panic - not syncing: sysrq triggered crash" in told


def test_two_dumps_of_one_crash_differ_in_nothing(collector: Receiver) -> None:
    """`diff` says that they are of one group."""
    told = collector.cli("diff", of(collector, "web01")["id"], of(collector, "db01")["id"]).stdout
    assert "one signature" in told.lower() or "same" in told.lower()


def test_old_dumps_move_only_when_regrouped(collector: Receiver) -> None:
    """An override renames the group, and only `regroup` makes it so; without it they move back."""
    table = collector.directory / "overrides.toml"
    before = of(collector, "web01")["signature"]
    table.write_text(f'[[override]]\nname = "our own test"\nsignature = "{before}"\n')
    assert of(collector, "web01")["signature"] == before
    moved = json.loads(collector.cli("regroup", "--json").stdout)
    assert moved == {"dumps": 3, "moved": 3}
    assert of(collector, "web01")["title"] == "our own test"
    table.write_text("")
    assert json.loads(collector.cli("regroup", "--json").stdout)["moved"] == 3
    assert of(collector, "web01")["signature"] == before


@pytest.mark.parametrize("verb", ["log", "triage", "explain"])
def test_what_is_no_log_is_said(collector: Receiver, verb: str, tmp_path: Path) -> None:
    """No such file or dump: 66, EX_NOINPUT; a file without a log: 65, EX_DATAERR."""
    missing = collector.cli(verb, "nothing", check=False)
    assert missing.returncode == 66
    assert "neither a file nor the ID of a dump" in missing.stderr
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 100)
    bad = collector.cli(verb, str(noise), check=False)
    assert bad.returncode == 65
    assert "no kernel log in it" in bad.stderr
