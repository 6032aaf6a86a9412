"""The agent in a real Pacemaker: its tools, its fencer, and a cluster whose two nodes crash at once.

Slow (half a minute each, and packages from the network); needs root and apt-get. Everything happens in a box.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pacemaker.box import CHECKOUT, Box, why_not

HERE = Path(__file__).parent
AGENT = "fence_kdump_net"  # beside the C agent, fence_kdump
PACKAGES = ("pacemaker", "pacemaker-cli-utils", "corosync", "pcs", "crmsh", "fence-agents", "iproute2")
SOCKET = "/run/kdump-fence/api.sock"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine with Pacemaker, both agents, and a power switch that only takes notes."""
    if reason := why_not():
        pytest.skip(reason)
    made = Box(tmp_path_factory.mktemp("box"))
    made.install(*PACKAGES)
    done = made.run("cp", str(HERE / "fence_switch"), "/usr/sbin/")
    assert done.returncode == 0, done.stderr
    done = made.run("env", f"AGENT={AGENT}", str(CHECKOUT / "deploy" / "pacemaker" / "install-agent"))
    assert done.returncode == 0, done.stderr
    yield made
    made.remove()


def shell(box: Box, script: str) -> tuple[int, str]:
    done = box.run("bash", "-c", script, timeout=120)
    return done.returncode, done.stdout + done.stderr


# ---- the tools


def test_pacemaker_finds_and_validates_it(box: Box) -> None:
    """stonith_admin: listed, its metadata read, good options taken and bad ones refused."""
    assert AGENT in shell(box, "stonith_admin --list-installed")[1]
    status, out = shell(box, f"stonith_admin --metadata --agent {AGENT}")
    assert (status, f'name="{AGENT}"' in out) == (0, True)
    for option in ("timeout=5", "nodename=127.0.0.1", "socket=/run/x.sock", "url=https://a:7443"):
        assert shell(box, f"stonith_admin --validate --agent {AGENT} --option {option}")[0] == 0
    for option in ("timeout=0", "socket=relative", "url=collector", "grade=best"):
        assert shell(box, f"stonith_admin --validate --agent {AGENT} --option {option}")[0] > 0


def test_pcs_describes_and_creates_it(box: Box) -> None:
    """Every option of ours is accepted, because it is a parameter; one that is none is refused."""
    status, out = shell(box, f"pcs stonith describe {AGENT}")
    assert status == 0
    for option in ("plug", "socket", "url", "grade", "token_file", "delay"):
        assert f"  {option}: " in out
    create = f"cibadmin --empty > /tmp/cib.xml && pcs -f /tmp/cib.xml stonith create kd {AGENT}"
    options = f"socket={SOCKET} grade=signed url=https://a token_file=/t ca_file=/c delay=1 timeout=30"
    status, out = shell(
        box, f"{create} {options} pcmk_host_list='n1 n2' && pcs -f /tmp/cib.xml stonith config"
    )
    assert (status, f"socket={SOCKET}" in out) == (0, True), out
    status, out = shell(box, f"{create} bogus=1")
    assert (status, "invalid stonith option 'bogus'" in out) == (1, True)


def test_crm_shows_it(box: Box) -> None:
    """crmsh reads the same metadata; crm_resource, too."""
    status, out = shell(
        box, f"cibadmin --empty > /tmp/c.xml; CIB_file=/tmp/c.xml crm ra info stonith:{AGENT}"
    )
    assert (status, "socket (string)" in out, "grade (select)" in out) == (0, True, True), out
    assert shell(box, f"crm_resource --show-metadata stonith:{AGENT}")[0] == 0


# ---- the fencer alone

FENCER = f"""
exec 2>&1
/usr/lib/pacemaker/pacemaker-fenced -s -l /tmp/fenced.log & fenced=$!
trap 'kill $fenced' EXIT
for _ in $(seq 100); do stonith_admin -L > /dev/null && break; sleep .1; done
printf '127.0.0.1 localhost\\n127.0.0.3 n1\\n127.0.0.4 n2\\n' > /etc/hosts
stonith_admin -R kd --agent {AGENT} -o timeout=8 -o pcmk_off_retries=1 || exit 10
stonith_admin -l n1 | grep -q kd || exit 11
stonith_admin -l n7.invalid | grep -q kd && exit 16
python3 - <<'P' &
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.3", 0))
for _ in range(100):
    s.sendto(struct.pack("<II", 0x1B302A40, 1), ("127.0.0.1", 7410)); time.sleep(.2)
P
stonith_admin -F n1 -t 20 || exit 12
stonith_admin -B n1 -t 20 || exit 13
stonith_admin -F n2 -t 20 && exit 14
stonith_admin -D kd || exit 15
"""


def test_the_fencer_drives_it_without_any_list_of_hosts(box: Box) -> None:
    """pacemaker-fenced -s: status lets it in. Off and reboot of n1 succeed, off of silent n2 fails."""
    status, out = shell(box, FENCER)
    assert status == 0, out


# ---- the cluster

C_OPTIONS = {
    "pcmk_monitor_action": "metadata",
    "pcmk_reboot_action": "off",
}  # what users of the C agent have to say
SWITCH = {"agent": "fence_switch", "pcmk_host_list": "n1 n2", "notes": "/box/switch"}
BEATING = ["/usr/libexec/fence-agents/fence_kdump_send", "-i", "2"]
SIGNING = [
    "sh",
    str(CHECKOUT / "sender" / "capture" / "fence_notify.sh"),
    "-i",
    "2",
    "--key",
    "/box/key",
    "--node",
]
KEY = "5a" * 32
SETTINGS = f"""
listen = ["0.0.0.0:7410"]
[node.n1]
addresses = ["198.51.100.6"]
keys = ["{KEY}"]
[node.n2]
addresses = ["198.51.100.10"]
keys = ["{KEY[:-2]}5b"]
"""


def cluster(
    box: Box, device: dict[str, str], *, one_device: bool = False, senders: dict[str, list[str]] | None = None
) -> Any:
    """Both nodes crash; what came of it. A device with a ``socket`` gets a daemon behind it."""
    device = {"pcmk_off_retries": "1", "timeout": "10", **device}
    if one_device:
        devices = {"kd": device}
        levels = {node: ["kd", "pw"] for node in ("n1", "n2")}
    else:
        devices = {f"kd-{node}": device | {"pcmk_host_list": node} for node in ("n1", "n2")}
        levels = {node: [f"kd-{node}", "pw"] for node in ("n1", "n2")}
    plan: dict[str, object] = {"devices": devices | {"pw": SWITCH}, "levels": levels}
    plan["senders"] = senders or {"n1": BEATING, "n2": BEATING}
    if "socket" in device:
        (box.out / "key").write_text(KEY)
        (box.out / "fence.toml").write_text(SETTINGS)
        (box.out / "fence.toml").chmod(0o600)
        serve = [str(Path(sys.executable).with_name("kdump-fence")), "serve", "--config", "/box/fence.toml"]
        plan |= {"daemon": [*serve, "--socket", SOCKET, "--state-dir", "/tmp/state"], "ready": SOCKET}
    done = box.run("python3", str(HERE / "cluster.py"), json.dumps(plan), timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    result = json.loads(done.stdout)
    assert {node: event["status"] for node, event in result["fenced"].items()} == dict.fromkeys(
        ("n1", "n2"), "success"
    )
    return result


def test_two_crash_at_once_and_the_c_agent_loses_one(box: Box) -> None:
    """For comparison: one C agent aborts (signal 6), and its node is power-cycled amid its dump."""
    result = cluster(box, {"agent": "fence_kdump", **C_OPTIONS})
    assert len(result["switched"]) == 1
    assert any("signal 6" in line for line in result["log"])


def test_two_crash_at_once_and_ours_keeps_both_without_a_daemon(box: Box) -> None:
    """The second agent waits for the port."""
    assert cluster(box, {"agent": AGENT})["switched"] == []


@pytest.mark.parametrize("one_device", [False, True], ids=["a device each", "one device"])
def test_two_crash_at_once_and_ours_keeps_both(box: Box, one_device: bool) -> None:
    """With the daemon: both fenced by kdump, neither power-cycled; one device needs no list of hosts."""
    result = cluster(box, {"agent": AGENT, "socket": SOCKET}, one_device=one_device)
    assert result["switched"] == []
    assert sum("returned 0" in line and "using kd" in line for line in result["log"]) == 2
    assert "monitor" not in result["faults"]
    assert result["seconds"] < 10  # of which the agents take a tenth, the messages having come before


@pytest.mark.parametrize("one_device", [False, True], ids=["a device each", "one device"])
def test_a_silent_node_is_power_cycled_and_holds_up_nobody(box: Box, one_device: bool) -> None:
    """n2 hangs without a dump: its level fails in time, its power is cut. n1 does not wait for that."""
    device = {"agent": AGENT, "socket": SOCKET, "pcmk_action_limit": "-1"}
    result = cluster(box, device, one_device=one_device, senders={"n1": BEATING})
    assert result["switched"] == ["reboot n2"]
    ends = {node: datetime.fromisoformat(event["completed"]) for node, event in result["fenced"].items()}
    assert (ends["n2"] - ends["n1"]).total_seconds() >= 5


def test_where_a_signature_is_asked_for_a_bare_message_fences_nobody(box: Box) -> None:
    """n1 signs, by the capture image's shell sender; n2 is only said to be dumping: its power is cut."""
    device = {"agent": AGENT, "socket": SOCKET, "grade": "signed"}
    result = cluster(box, device, senders={"n1": [*SIGNING, "n1"], "n2": BEATING})
    assert result["switched"] == ["reboot n2"]
