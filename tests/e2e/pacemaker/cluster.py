"""Runs inside a box: a real corosync and Pacemaker on one living node, and two nodes that crash at once.

n1 and n2 are network namespaces in which a sender runs, as in a capture kernel. Fencing
of both begins in the same moment. What it came to is printed as JSON: the fencer's history, what the power
switch was told, how long it took, and the fencer's log. The plan is JSON as well:

    {"devices": {NAME: {"agent": AGENT, OPTION: VALUE}}, "levels": {NODE: [DEVICE]},
     "senders": {NODE: [PROGRAM, ARGUMENT]}, "daemon": [PROGRAM, ARGUMENT], "ready": PATH}
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

OUT = Path("/box")
NODES = {"n1": 1, "n2": 2}
COROSYNC = """\
totem {{
    version: 2
    cluster_name: box
    transport: knet
    crypto_cipher: none
    crypto_hash: none
}}
nodelist {{
{nodes}}}
quorum {{
    provider: corosync_votequorum
    expected_votes: 1
}}
logging {{
    to_syslog: no
    to_logfile: yes
    logfile: /box/corosync.log
}}
"""
MEMBER = "    node {{\n        name: {name}\n        nodeid: {id}\n        ring0_addr: {address}\n    }}\n"


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


@contextmanager
def started(*command: str, log: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(OUT / log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def networks() -> None:
    """A cable to each node of its own: the collector's end is 198.51.100.N*4+1, the node's one more."""
    hosts = "127.0.0.1 localhost\n198.51.100.5 box\n"
    for name, number in NODES.items():
        ours, theirs = f"198.51.100.{number * 4 + 1}", f"198.51.100.{number * 4 + 2}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{ours}/30", "dev", f"to-{name}")
        run("ip", "link", "set", f"to-{name}", "up")
        run("ip", "-n", name, "addr", "add", f"{theirs}/30", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        hosts += f"{theirs} {name}\n"
    Path("/etc/hosts").write_text(hosts)


def configure() -> None:
    run("hostname", "box")
    members = [("box", 1, "127.0.0.1"), ("n1", 2, "127.0.0.11"), ("n2", 3, "127.0.0.12")]
    nodes = "".join(MEMBER.format(name=name, id=number, address=address) for name, number, address in members)
    Path("/etc/corosync/corosync.conf").write_text(COROSYNC.format(nodes=nodes))
    for folder in ("/run/crm", "/var/log/pacemaker", "/var/log/corosync", "/var/log/cluster"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    shutil.chown("/run/crm", "hacluster", "haclient")
    for old in Path("/var/lib/pacemaker").glob("*/*"):  # of an earlier run in this box
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def elected() -> bool:
    return "Current DC: box" in run("crm_mon", "-1", check=False)


def resources(devices: dict[str, dict[str, str]], levels: dict[str, list[str]]) -> None:
    def pair(identity: str, name: str, value: str) -> str:
        return f'<nvpair id="{identity}-{name}" name="{name}" value="{value}"/>'

    primitives = ""
    for name, options in devices.items():
        pairs = "".join(pair(name, key, value) for key, value in options.items() if key != "agent")
        primitives += f'<primitive id="{name}" class="stonith" type="{options["agent"]}">'
        primitives += f'<instance_attributes id="{name}-ia">{pairs}</instance_attributes></primitive>'
    topology = "".join(
        f'<fencing-level id="{target}-{index}" target="{target}" index="{index}" devices="{device}"/>'
        for target, names in levels.items()
        for index, device in enumerate(names, 1)
    )
    for scope, content in {"resources": primitives, "fencing-topology": topology}.items():
        run("cibadmin", "-M", "-c", "-o", scope, "-X", f"<{scope}>{content}</{scope}>")


def fenced() -> dict[str, dict[str, str]]:
    """The last finished operation for each node, by the fencer's own history."""
    history = ElementTree.fromstring(run("stonith_admin", "--history", "*", "--verbose", "--output-as=xml"))
    found: dict[str, dict[str, str]] = {}
    for event in history.iter("fence_event"):
        if event.get("status") in ("success", "failed"):
            found.setdefault(str(event.get("target")), dict(event.attrib))
    return found


def main() -> None:
    plan = json.loads(sys.argv[1])
    notes, pacemaker_log = OUT / "switch", OUT / "pacemaker.log"
    for old in (notes, pacemaker_log):
        old.unlink(missing_ok=True)
    networks()
    configure()
    with ExitStack() as stack:
        stack.enter_context(started("corosync", "-f", log="corosync.out"))
        until(lambda: bool(run("corosync-cmapctl", check=False)), 20, "corosync")
        log = {"PCMK_logfile": str(pacemaker_log), "PCMK_logfacility": "none"}
        stack.enter_context(started("pacemakerd", "-f", log="pacemakerd.out", **log))
        until(elected, 60, "the election of a DC")
        settings = {
            "stonith-enabled": "false",
            "concurrent-fencing": "true",
            "no-quorum-policy": "ignore",
            "stonith-timeout": "30s",
        }
        for name, value in settings.items():
            run("crm_attribute", "-t", "crm_config", "-n", name, "-v", value)
        if "daemon" in plan:
            Path(plan["ready"]).parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(started(*plan["daemon"], log="daemon.out"))
            until(Path(plan["ready"]).exists, 20, "the daemon's socket")
        resources(plan["devices"], plan["levels"])
        until(
            lambda: run("stonith_admin", "-L", check=False).count("\n") >= len(plan["devices"]),
            20,
            "the devices",
        )
        for name, sender in plan["senders"].items():
            words = ("ip", "netns", "exec", name, *sender, f"198.51.100.{NODES[name] * 4 + 1}")
            stack.enter_context(started(*words, log=f"{name}.out"))
        crash = time.monotonic()
        run("crm_attribute", "-t", "crm_config", "-n", "stonith-enabled", "-v", "true")
        until(lambda: len(fenced()) == 2, 90, "the fencing of both nodes")
        seconds = time.monotonic() - crash
        lines = pacemaker_log.read_text().splitlines()
        result = {
            "fenced": fenced(),
            "seconds": round(seconds, 2),
            "switched": notes.read_text().splitlines() if notes.exists() else [],
            "faults": run("crm_mon", "-1", "--include=none,failures"),
            "log": [line.split("pacemaker-fenced", 1)[1] for line in lines if "pacemaker-fenced" in line],
        }
    print(json.dumps(result))


main()
