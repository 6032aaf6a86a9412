"""fence.cli: the commands an operator types, and what they say."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from fence.cli import main
from fence.message import LITTLE
from tests.rig.fence import PROGRAM, SECONDS, Fence


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


NODES = """
[node.n1]
addresses = ["127.0.0.1"]
[node.n2]
addresses = ["192.0.2.20"]
"""


@pytest.fixture(scope="module")
def fence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fence]:
    """One daemon for all: n1 has sent, n2 has not."""
    with Fence(tmp_path_factory.mktemp("fence"), NODES) as made:
        made.send(LITTLE)
        made.until(lambda: made.off("n1"))
        yield made


def run(*arguments: str) -> Done:
    """`kdump-fence ARGUMENTS`, in this process."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def cli(fence: Fence, *arguments: str) -> Done:
    """The same of this daemon."""
    return run(*arguments, "--socket", str(fence.socket), "--config", str(fence.config))


def test_nodes_are_a_table_or_json(fence: Fence) -> None:
    """For people and for programs."""
    lines = cli(fence, "nodes").stdout.splitlines()
    assert lines[0].split() == ["node", "state", "off", "evidence", "beats", "age", "from", "alive", "alarms"]
    assert lines[1].split()[:3] == ["n1", "dumping", "yes"]
    assert lines[2].split()[:3] == ["n2", "quiet", "no"]
    assert [node["name"] for node in json.loads(cli(fence, "nodes", "--json").stdout)["nodes"]] == [
        "n1",
        "n2",
    ]
    assert [node["name"] for node in json.loads(cli(fence, "nodes", "--json", "n2").stdout)["nodes"]] == [
        "n2"
    ]


def test_wait_ends_with_0_or_1(fence: Fence) -> None:
    """`kdump-fence wait n1 && …`."""
    done = cli(fence, "wait", "n1")
    assert (done.returncode, done.stdout.startswith("n1: off: udp message ")) == (0, True)
    done = cli(fence, "wait", "n2", "--timeout", "0.1")
    assert (done.returncode, done.stdout) == (1, "n2: not proven to be off: nothing heard from n2\n")
    done = cli(fence, "wait", "n1", "--timeout", "0", "--grade", "signed", "--json")
    assert (done.returncode, json.loads(done.stdout)["policy"]) == (1, "signed")


def test_wait_for_a_name_nobody_knows_is_an_error(fence: Fence) -> None:
    """69, and what to do."""
    done = cli(fence, "wait", "no-such-node.invalid", "--timeout", "0")
    assert done.returncode == 69
    assert done.stderr.startswith(
        f"kdump-fence: {fence.socket}: no node 'no-such-node.invalid' is configured"
    )


def test_events_are_lines_or_json(fence: Fence) -> None:
    """From the first, from an id, of one node."""
    lines = cli(fence, "events").stdout.splitlines()
    assert "daemon.started" in lines[0]
    assert "node.dumping  n1" in lines[1]
    events = [json.loads(line) for line in cli(fence, "events", "--json", "--node", "n1").stdout.splitlines()]
    assert events[0]["type"] == "kdump-net.fence.node.dumping"
    after = cli(fence, "events", "--json", "--since", events[0]["id"]).stdout.splitlines()
    assert all(int(json.loads(line)["id"]) > int(events[0]["id"]) for line in after)


def test_events_follow(fence: Fence) -> None:
    """What comes is there when it comes; Ctrl-C ends it."""
    command = [str(PROGRAM), "events", "--follow", "--json", "--since", "0", "--socket", str(fence.socket)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["type"].endswith("daemon.started")
        fence.post("/v1/nodes/n2/alive")
        for line in follower.stdout:
            if json.loads(line)["type"].endswith("node.alive"):
                break
        follower.send_signal(signal.SIGINT)
        follower.wait(SECONDS)


def test_a_reader_that_has_seen_enough_is_no_error(fence: Fence) -> None:
    """`kdump-fence events | head -1`."""
    done = subprocess.run(
        ["sh", "-c", '"$0" events --since 0 --socket "$1" | head -1', PROGRAM, fence.socket],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "daemon.started" in done.stdout
    assert done.stderr == ""


def test_check_says_how_it_is(fence: Fence) -> None:
    """The settings, and the daemon behind the socket."""
    done = cli(fence, "check")
    assert done.returncode == 0
    assert "listens on UDP 127.0.0.1 port " in done.stdout
    assert "2 nodes" in done.stdout
    assert json.loads(cli(fence, "check", "--json").stdout)["ok"]


def test_check_offline_reads_the_settings_alone(tmp_path: Path) -> None:
    """Before a reload, in a pipeline."""
    config = tmp_path / "fence.toml"
    config.write_text(f"nodes.drop_in = '{tmp_path}/none'\n{NODES}")
    done = run("check", "--offline", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, "2 nodes, all well\n")
    assert json.loads(run("check", "--offline", "--json", "--config", str(config)).stdout) == {
        "ok": True,
        "nodes": 2,
    }
    config.write_text("[node.n1]\nkeys = ['x']")
    done = run("check", "--offline", "--config", str(config))
    assert (done.returncode, "node.n1.keys: number 1" in done.stderr) == (78, True)


def test_a_problem_makes_check_fail(tmp_path: Path) -> None:
    """For cron and for people."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite").write_bytes(b"damage" * 1000)
    with Fence(tmp_path) as fence:
        done = cli(fence, "check")
        assert (done.returncode, "problem: the journal was damaged" in done.stdout) == (1, True)


# httpcore 1.0 forgets to close a Unix socket that it could not connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("command", [["nodes"], ["wait", "n1"], ["events"], ["events", "-f"], ["check"]])
def test_without_a_daemon_every_command_says_so(tmp_path: Path, command: list[str]) -> None:
    """One line, 69."""
    path = tmp_path / "none.sock"
    config = tmp_path / "fence.toml"
    config.write_text(f"nodes.drop_in = '{tmp_path}/none'")
    done = run(*command, "--socket", str(path), "--config", str(config))
    assert done.returncode == 69
    assert done.stderr.startswith(f"kdump-fence: {path}: ")
    assert done.stderr.endswith("does `kdump-fence serve` run?\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["serve", "--listen", "nowhere:1"], 78, "the command line: listen.0: say an address to listen on"),
        (["serve", "--config", "/no/such.toml"], 78, "/no/such.toml: No such file or directory"),
        (["serve", "--listen", "192.0.2.77:1"], 71, "cannot listen on UDP 192.0.2.77:1: Cannot assign"),
        (["serve", "--http", "0.0.0.0:1"], 78, "needs `certificate` and `key`"),
        (["serve", "--node", "a/b"], 78, "--node: node.a/b: a name has"),
        (["serve", "--bogus"], 2, "No such option"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(
    tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    """With an exit status of sysexits.h, no traceback."""
    done = run(*arguments, "--state-dir", str(tmp_path), "--socket", str(tmp_path / "s"))
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version() -> None:
    """The first thing anybody types."""
    assert "serve" in run("--help").stdout
    assert run("--version").stdout.startswith("kdump-fence, version ")
