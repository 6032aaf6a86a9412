"""deploy/fence and deploy/pacemaker: what an administrator installs says what the daemon does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fence.message import LITTLE, Message, encode
from fence.settings import PORT, NodeBlock, Program, Settings, Token, Webhook, load
from tests.rig.fence import PROGRAM, SECONDS, Fence

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES, PACEMAKER = DEPLOY / "fence", DEPLOY / "pacemaker"
SCHEMA = Path("/usr/share/pacemaker/pacemaker-3.9.rng")
KEY = b"k" * 32


def shown(text: str) -> dict[str, Any]:
    """The sample with everything in it that it only shows."""
    return tomllib.loads(re.sub(r"^# (\w+ = |\[)", r"\1", text, flags=re.MULTILINE))


def test_the_sample_explains_every_setting() -> None:
    """A key that the sample does not name is a key that nobody finds."""
    sample = shown((FILES / "fence.toml").read_text())
    assert set(sample) == set(Settings.model_fields)
    for table in ("policy", "nodes", "api", "journal"):
        assert set(sample[table]) == set(type(getattr(Settings(), table)).model_fields), table
    assert set(sample["api"]["token"][0]) == set(Token.model_fields)
    assert set(sample["webhook"][0]) == set(Webhook.model_fields)
    assert set(sample["program"][0]) == set(Program.model_fields)
    assert set(sample["node"]["n1"]) == set(NodeBlock.model_fields)


def test_the_sample_shows_the_defaults() -> None:
    """Installed as it is, it changes nothing; what it only shows would be taken."""
    effective, defaults = load(FILES / "fence.toml", {}), Settings()
    assert effective == defaults
    sample = shown((FILES / "fence.toml").read_text())
    del sample["api"]["socket_group"]  # there may be no such group here
    full = Settings.model_validate(sample)
    for block, blank in ((full.webhook[0], Webhook), (full.program[0], Program)):
        for name in ("min_grade", "timeout_seconds", "max_age_seconds"):
            assert getattr(block, name) == blank.model_fields[name].default


def test_the_firewall_opens_the_port_that_is_used() -> None:
    """The nodes' port, and not the API's."""
    (port,) = ElementTree.parse(FILES / "firewalld/kdump-fence.xml").iter("port")
    assert (port.get("protocol"), port.get("port")) == ("udp", str(PORT))


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say about them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in (FILES / "systemd").iterdir():
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={program}", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    (tmp_path / "pacemaker.service").write_text(f"[Service]\nExecStart={program}\n")
    units = [str(tmp_path / unit.name) for unit in (FILES / "systemd").iterdir()]
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    ours = [line for line in said.stderr.splitlines() if "kdump-fence" in line]
    assert said.returncode == 0, ours
    assert not ours


def test_the_unit_gives_the_daemon_what_the_settings_name() -> None:
    """State, socket, user."""
    unit = (FILES / "systemd/kdump-fence.service").read_text()
    settings = Settings()
    assert f"StateDirectory={settings.state_dir.name}\n" in unit
    assert f"RuntimeDirectory={settings.api.socket.parent.name}\n" in unit
    user = (FILES / "sysusers.d/kdump-fence.conf").read_text().split()[1]
    assert f"User={user}\n" in unit


@pytest.mark.skipif(not SCHEMA.exists(), reason="Pacemaker's schema is not installed here")
def test_pacemaker_takes_the_example_topology(tmp_path: Path) -> None:
    """By its own schema."""
    text = (PACEMAKER / "topology.xml").read_text()
    head = '<cib validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0">'
    (tmp_path / "cib.xml").write_text(f"{head}{text[text.index('<configuration>') :]}<status/></cib>")
    subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, tmp_path / "cib.xml"], check=True, timeout=60)


def test_the_example_topology_asks_kdump_before_the_power() -> None:
    """For every node it names, with a device that exists."""
    tree = ElementTree.parse(PACEMAKER / "topology.xml")
    devices = {primitive.get("id"): primitive.get("type") for primitive in tree.iter("primitive")}
    levels = {
        (level.get("target"), level.get("index")): level.get("devices")
        for level in tree.iter("fencing-level")
    }
    assert {target for target, _ in levels} == {"n1", "n2"}
    for (_, index), device in levels.items():
        assert (devices[device] == "fence_kdump") == (index == "1")


@pytest.fixture
def fence(tmp_path: Path) -> Iterator[Fence]:
    one = f"[node.n1]\naddresses = ['127.0.0.1']\nkeys = ['{KEY.hex()}']\n"
    nodes = f"{one}[node.n2]\naddresses = ['127.0.0.2']\n"
    with Fence(tmp_path, nodes) as made:
        yield made


def alert(fence: Fence, **environment: str) -> subprocess.CompletedProcess[str]:
    """The alert agent as Pacemaker calls it."""
    base = {"CRM_alert_recipient": str(fence.socket), "CRM_alert_kind": "node", "CRM_alert_node": "n1"}
    return subprocess.run(
        [PACEMAKER / "alert_kdump_fence"],
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_alert_agent_tells_who_is_alive_and_who_is_lost(fence: Fence) -> None:
    """And a node that came back is no longer off."""
    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    now = f"{time.time():.6f}"
    done = alert(fence, CRM_alert_desc="member", CRM_alert_timestamp_epoch=now)
    assert (done.returncode, done.stderr) == (0, "")
    node = fence.node("n1")
    assert (node["off"], node["alive"]["known"], node["alive"]["by"]) == (False, True, "pacemaker")
    later = f"{time.time():.6f}"
    assert alert(fence, CRM_alert_desc="lost", CRM_alert_timestamp_epoch=later).returncode == 0
    assert fence.node("n1")["alive"]["liveness"] == "lost"


def test_an_alert_that_came_late_clears_nothing_that_is_newer(fence: Fence) -> None:
    """It says how old it is."""
    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    alert(fence, CRM_alert_desc="member", CRM_alert_timestamp_epoch=str(int(time.time()) - 60))
    assert fence.off("n1")


@pytest.mark.parametrize(
    "environment",
    [
        {"CRM_alert_kind": "fencing", "CRM_alert_desc": "member"},
        {"CRM_alert_kind": "resource"},
        {"CRM_alert_desc": "something new"},
        {"CRM_alert_desc": "member", "CRM_alert_node": ""},
    ],
)
def test_other_alerts_are_none_of_its_business(fence: Fence, environment: dict[str, str]) -> None:
    """Pacemaker sends them if nobody selects."""
    assert alert(fence, **environment).returncode == 0
    assert fence.kinds() == ["daemon.started"]


def test_an_alert_that_cannot_be_told_says_so(fence: Fence) -> None:
    """In Pacemaker's log, with the reason."""
    done = alert(fence, CRM_alert_desc="member", CRM_alert_node="no.such.node.invalid")
    assert (done.returncode, "is configured" in done.stderr) == (1, True)


@pytest.mark.slow
def test_an_alert_for_a_daemon_that_is_not_there_is_given_up(fence: Fence) -> None:
    """Within the time that Pacemaker gives it."""
    done = alert(fence, CRM_alert_desc="member", CRM_alert_recipient="/no/such.sock")
    assert (done.returncode, "/no/such.sock: No such file" in done.stderr) == (1, True)


def test_an_alert_while_the_daemon_restarts_is_not_lost(fence: Fence) -> None:
    """It waits for the daemon, and is as old as it is by then: what came meanwhile stays."""
    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    fence.stop()
    waiting = threading.Thread(target=alert, args=(fence,), kwargs={"CRM_alert_desc": "member"})
    waiting.start()
    time.sleep(1)  # it has tried, and nobody was there
    fence.start()
    fence.send(LITTLE, source="127.0.0.1")
    fence.until(lambda: fence.node("n1")["alive"]["known"])
    waiting.join()
    assert fence.node("n1")["alive"]["age_seconds"] >= 1
    assert fence.off("n1")


def test_members_are_told_at_once_for_all(fence: Fence, tmp_path: Path) -> None:
    """After the daemon was set up in a running cluster."""
    crm_node = tmp_path / "crm_node"
    crm_node.write_text("#!/bin/sh\n[ \"$1\" = -p ] && echo 'n1 n2 '\n")
    crm_node.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = [str(PACEMAKER / "alert_kdump_fence"), "--members", str(fence.socket)]
    subprocess.run(command, env={"PATH": path}, check=True, timeout=SECONDS)
    assert all(fence.node(name)["alive"]["known"] for name in ("n1", "n2"))


@pytest.fixture
def confirmed(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """What fence_confirm is run with, and where a stand-in for stonith_admin writes what it was told."""
    out = tmp_path / "confirmed"
    stand_in = tmp_path / "bin" / "stonith_admin"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {out}\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    return {"PATH": path, "KDUMP_FENCE": str(PROGRAM), "KDUMP_FENCE_SOCKET": str(tmp_path / "api.sock")}, out


def signed(sequence: int) -> bytes:
    stamp = int(time.time() * 1000)
    return encode(Message(node="n1", session=b"S" * 16, sequence=sequence, time=stamp), KEY)


def test_only_what_is_signed_is_confirmed(fence: Fence, confirmed: tuple[dict[str, str], Path]) -> None:
    """As a program of the daemon: for each event it decides by what the daemon says now."""
    environment, out = confirmed
    command = [PACEMAKER / "fence_confirm"]

    def run(grade: str, **more: str) -> int:
        event = {"KDUMP_FENCE_NODE": "n1", "KDUMP_FENCE_GRADE": grade} | more
        return subprocess.run(command, env=environment | event, timeout=SECONDS, check=False).returncode

    fence.send(LITTLE)
    fence.until(lambda: fence.off("n1"))
    assert run("udp") == run("signed") == run("signed", KDUMP_FENCE_NODE="") == 0
    assert run("signed", GRADE="udp") == 78
    assert not out.exists()
    fence.send(signed(1))
    fence.until(lambda: fence.node("n1")["grade"] == "signed")
    assert run("signed") == 0
    assert out.read_text() == "--confirm=n1\n"


def test_a_signed_node_is_confirmed_the_moment_it_speaks(
    fence: Fence, confirmed: tuple[dict[str, str], Path]
) -> None:
    """As a service that follows the stream; a plain beat before is passed over."""
    environment, out = confirmed
    with subprocess.Popen([PACEMAKER / "fence_confirm", "--follow"], env=environment) as follower:
        try:
            # It follows when there is a stream: what comes before is not its business.
            fence.until(lambda: stream_open(fence))
            fence.send(LITTLE)
            fence.until(lambda: fence.off("n1"))
            fence.send(signed(1))
            fence.until(lambda: out.exists() and out.read_text() == "--confirm=n1\n")
        finally:
            fence.stop()  # and the follower ends with it
        assert follower.wait(SECONDS) == 1


def stream_open(fence: Fence) -> bool:
    table = Path("/proc/net/unix").read_text()
    return table.count(str(fence.socket)) >= 2  # the listener and the stream
