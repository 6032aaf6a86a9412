"""The agent beside the C agent, the sender beside the C sender: start, answer, memory, in one run.

    python -m tests.bench.bench_agent [--rounds 30] [--json FILE]

Needs fence-agents. Ours are what deploy/pacemaker/install-agent installs, on the system's Python.
Each round measures all of them in turn, A B C A B C. Times are by the wall where they do not say CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fence.agent.holder import holder_of
from tests.rig.c_pair import C_AGENT, C_SENDER

CHECKOUT = Path(__file__).parents[2]
MESSAGE = struct.pack("<II", 0x1B302A40, 1)
SECONDS = 20  # that anything may take


@dataclass
class Figure:
    """One thing measured of several programs."""

    what: str
    unit: str = "ms"
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, who: str, value: float) -> None:
        self.samples.setdefault(who, []).append(value)

    def as_dict(self) -> dict[str, object]:
        return {
            "what": self.what,
            "unit": self.unit,
            "programs": {who: summary(values) for who, values in self.samples.items()},
            "notes": self.notes,
        }


def summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "best": round(ordered[0], 3),
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[round(last * 0.95)], 3),
        "max": round(ordered[-1], 3),
        "n": len(ordered),
    }


@dataclass
class Programs:
    """What is measured."""

    agent: str
    sender: str
    socket: str
    daemon_port: int


@contextmanager
def programs(folder: Path) -> Iterator[Programs]:
    """Install ours, and start kdump-fence with one node, 127.0.0.1."""
    places = {"LIB": str(folder / "lib"), "SBIN": str(folder / "sbin")}
    subprocess.run(
        [CHECKOUT / "deploy" / "pacemaker" / "install-agent"],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **places},
    )
    path = str(folder / "api.sock")
    serve = [str(Path(sys.executable).with_name("kdump-fence")), "serve", "--listen", "127.0.0.1:0"]
    serve += ["--socket", path, "--state-dir", str(folder / "state"), "--node", "n1=127.0.0.1", "--quiet"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout
        port = int(json.loads(daemon.stdout.readline())["udp"].rpartition(":")[2])
        try:
            yield Programs(f"{folder}/sbin/fence_kdump", f"{folder}/sbin/fence_kdump_send", path, port)
        finally:
            daemon.terminate()


def milliseconds(command: list[str]) -> tuple[float, float]:
    """From the start of a program to its end: by the wall, and of CPU."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = (time.perf_counter() - begin) * 1000
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit status {process.returncode}")
    return taken, (usage.ru_utime + usage.ru_stime) * 1000


def holds(port: int, pid: int) -> bool:
    return f"pid {pid}" in str(holder_of(port))


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)


def answered(agent: list[str], port: int, ready: Callable[[int], object]) -> tuple[float, float]:
    """Milliseconds from a datagram's sending to the exit of an agent that waits, and its memory in MiB."""
    process = subprocess.Popen(agent, stdout=subprocess.DEVNULL)
    wait_until(lambda: ready(process.pid), f"{agent} does not wait")
    memory = Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        begin = time.perf_counter()
        sender.sendto(MESSAGE, ("127.0.0.1", port))
        _, status = os.waitpid(process.pid, 0)
        taken = (time.perf_counter() - begin) * 1000
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{agent}: exit status {process.returncode}")
    return taken, int(memory) / 1024


def first_datagram(sender: list[str]) -> float:
    """Milliseconds from a sender's start to its first datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(SECONDS)
        begin = time.perf_counter()
        words = [*sender, "-c", "1", "-p", str(receiver.getsockname()[1]), "127.0.0.1"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL):
            receiver.recv(64)
            return (time.perf_counter() - begin) * 1000


def waits_open(path: str) -> int:
    """How many questions the daemon has open."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["waits"])


def forget(ours: Programs) -> None:
    """Let the daemon know that the node is alive again: nothing heard before counts any more."""
    body = b"{}"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ours.socket)
        head = f"POST /v1/nodes/n1/alive HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(
            head.encode() + b"Connection: close\r\nContent-Type: application/json\r\n\r\n" + body
        )
        assert b" 200 " in connection.recv(65536).split(b"\r\n")[0]


def run(ours: Programs, rounds: int) -> list[Figure]:
    start = Figure("start: -o metadata")
    ready = Figure("start: validate-all, everything loaded")
    cpu = Figure("start: validate-all, CPU")
    wait = Figure("datagram to exit of a waiting agent")
    memory = Figure("memory of a waiting agent", "MiB")
    before = Figure("question to exit, the message came before", notes={"C": "never"})
    sender = Figure("start of the sender to its first datagram")
    ask = ["-n", "n1", "--socket", ours.socket, "-t", str(SECONDS)]
    shell = ["sh", str(CHECKOUT / "sender" / "capture" / "fence_notify.sh")]
    for _ in range(rounds):
        for who, agent in (("C", C_AGENT), ("ours", ours.agent)):
            start.add(who, milliseconds([agent, "-o", "metadata"])[0])
            taken, busy = milliseconds([agent, "-o", "validate-all"])
            ready.add(who, taken)
            cpu.add(who, busy)
            port = free_port()
            listen = [agent, "-n", "127.0.0.1", "-p", str(port), "-t", str(SECONDS)]
            taken, size = answered(listen, port, partial(holds, port))
            wait.add(who, taken)
            memory.add(who, size)
        forget(ours)
        taken, size = answered([ours.agent, *ask], ours.daemon_port, lambda _: waits_open(ours.socket))
        wait.add("ours, daemon", taken)
        memory.add("ours, daemon", size)
        before.add("ours, daemon", milliseconds([ours.agent, *ask])[0])
        for who, words in (("C", [C_SENDER]), ("ours", [ours.sender]), ("shell", shell)):
            sender.add(who, first_datagram(words))
    return [start, ready, cpu, wait, before, memory, sender]


def at_once(agent: str, options: list[str], port: int) -> list[int]:
    """Two nodes crash, each repeating its message five times a second: the exit status of both agents."""
    agents = [
        subprocess.Popen([agent, "-n", node, "-t", "5", *options], stdout=-3, stderr=-3)
        for node in ("127.0.0.3", "127.0.0.4")
    ]
    nodes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in agents]
    for node, address in zip(nodes, ("127.0.0.3", "127.0.0.4"), strict=True):
        node.bind((address, 0))
    while any(process.poll() is None for process in agents):
        for node in nodes:
            node.sendto(MESSAGE, ("127.0.0.1", port))
        time.sleep(0.2)
    for node in nodes:
        node.close()
    return [process.wait() for process in agents]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the figures here, not to the end of the output")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdump-bench-") as name, programs(Path(name)) as ours:
        figures = run(ours, asked.rounds)
        port = free_port()
        both = {
            "C": at_once(C_AGENT, ["-p", str(port)], port),
            "ours": at_once(ours.agent, ["-p", str(port)], port),
            "ours, daemon": at_once(ours.agent, ["--socket", ours.socket], ours.daemon_port),
        }
    columns = ("C", "ours", "ours, daemon", "shell")
    print(f"{'median (p95)':46}" + "".join(f"{column:>18}" for column in columns))
    for figure in figures:
        cells = ""
        for column in columns:
            values = figure.samples.get(column)
            seen = summary(values) if values else None
            cells += (
                f"{seen['median']:>9.1f} ({seen['p95']:6.1f})"
                if seen
                else f"{figure.notes.get(column, '-')[:17]:>18}"
            )
        print(f"{figure.what:46}{cells}  {figure.unit}")
    print(f"{'exit status of two agents at once':46}" + "".join(f"{both.get(c, '-')!s:>18}" for c in columns))
    text = json.dumps({"figures": [figure.as_dict() for figure in figures], "two at once": both})
    if asked.json:
        asked.json.write_text(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
