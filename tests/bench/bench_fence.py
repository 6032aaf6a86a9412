"""kdump-fence beside the C agent: how soon it answers, how much it hears, what it weighs.

    python -m tests.bench.bench_fence [--samples 200] [--seconds 2] [--only NAME]… [--json FILE]

Loopback only. The C agent is one process for one question, so its time holds its exit (and, where it is
started for the question, its start); ours is the time to the answer on an open connection. Rates are of
datagrams sent at a fixed pace for a while: the highest of the ladder with none lost.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import select
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fence.message import LITTLE, Message, encode
from tests.rig.c_pair import C_AGENT, WHY_NOT
from tests.rig.fence import Fence

LADDER = (10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 130_000, 160_000, 200_000, 250_000, 300_000)
JUNK = b"not a message, but long enough to be looked at"
KEY = b"k" * 32
MIB = 1024 * 1024


@dataclass
class Figure:
    """One line of the result; ``ours`` and ``theirs`` are what there is to compare."""

    what: str
    unit: str
    ours: dict[str, float] = field(default_factory=dict)
    theirs: dict[str, float] | None = None
    note: str = ""


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: median, 99 of 100, worst."""
    ordered = sorted(seconds)
    rank = min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))
    values = (statistics.median(ordered), ordered[rank], ordered[-1])
    return {
        name: round(value * 1000, 3) for name, value in zip(("median", "p99", "max"), values, strict=True)
    } | {"n": len(ordered)}


def address(number: int) -> str:
    """One of many on loopback."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


@contextmanager
def daemon(nodes: int, *, keys: bool = False) -> Iterator[Fence]:
    """A daemon with so many nodes, n0 to …, each with an address of its own."""
    with tempfile.TemporaryDirectory(prefix="kdump-bench-") as name:
        fence = Fence(Path(name), arguments=("--quiet",))
        drop_in = Path(name) / "fence.d"
        drop_in.mkdir()
        key = f'keys = ["{KEY.hex()}"]\n' if keys else ""
        blocks = (f'[node.n{number}]\naddresses = ["{address(number)}"]\n{key}' for number in range(nodes))
        (drop_in / "nodes.toml").write_text("".join(blocks))
        with fence:
            yield fence


class Question:
    """An open connection on which "is it off?" was asked."""

    def __init__(self, fence: Fence, node: str, timeout: float) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(fence.socket))
        line = f"GET /v1/nodes/{node}/off?timeout={timeout} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.sock.sendall(line.encode())

    def answer(self) -> bytes:
        data = self.sock.recv(65536)
        while b'"waited_seconds"' not in data:
            more = self.sock.recv(65536)
            if not more:
                raise RuntimeError(f"no answer: {data!r}")
            data += more
        self.sock.close()
        if b'"off": true' not in data:
            raise RuntimeError(f"not off: {data!r}")
        return data


def sender_of(number: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address(number), 0))
    return sock


def before(samples: int) -> Figure:
    """The message came before the question."""
    figure = Figure("question ▸ answer, the message came before", "ms")
    times = []
    with daemon(samples) as fence:
        for number in range(samples):
            with sender_of(number) as sock:
                sock.sendto(LITTLE, ("127.0.0.1", fence.port))
        fence.until(lambda: fence.off(f"n{samples - 1}"))
        for number in range(samples):
            begin = time.perf_counter()
            Question(fence, f"n{number}", 30).answer()
            times.append(time.perf_counter() - begin)
    figure.ours = spread(times)
    if WHY_NOT is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(LITTLE, ("127.0.0.1", 7411))
        command = [C_AGENT, "-n", "127.0.0.1", "-p", "7411", "-t", "2"]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        figure.note = f"C: never; it ends with {done.returncode} after its whole timeout (here 2 s)"
    return figure


def c_agent(samples: int) -> list[float]:
    """From the datagram to the agent's exit."""
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    for _ in range(samples):
        command = [C_AGENT, "-n", "127.0.0.1", "-p", str(port), "-t", "20"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
            wait_bound(port)
            begin = time.perf_counter()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(LITTLE, ("127.0.0.1", port))
            if agent.wait(20):
                raise RuntimeError(f"{command} ended with {agent.returncode}")
            times.append(time.perf_counter() - begin)
    return times


def wait_bound(port: int) -> None:
    wanted = f":{port:04X} "
    for _ in range(2000):
        if wanted in Path("/proc/net/udp").read_text():
            return
        time.sleep(0.001)
    raise TimeoutError(f"nobody binds {port}")


def waits(count: int, samples: int) -> Figure:
    """``count`` questions are open, each for another node; one message after the other comes."""
    figure = Figure(f"datagram ▸ answer, {count:,} questions open", "ms")
    times = []
    with daemon(count + samples) as fence:
        standing = [Question(fence, f"n{samples + number}", 600) for number in range(count - 1)]
        fence.until(lambda: fence.get("/healthz")["waits"] == count - 1, seconds=120)
        for number in range(samples):
            question = Question(fence, f"n{number}", 60)
            fence.until(lambda: fence.get("/healthz")["waits"] == count)
            with sender_of(number) as sock:
                begin = time.perf_counter()
                sock.sendto(LITTLE, ("127.0.0.1", fence.port))
                question.answer()
                times.append(time.perf_counter() - begin)
        for each in standing:
            each.sock.close()
    figure.ours = spread(times)
    if count == 1 and WHY_NOT is None:
        figure.theirs = spread(c_agent(min(samples, 50)))
        figure.note = "C: to the agent's exit"
    return figure


def all_at_once(count: int) -> Figure:
    """As many questions for one node, answered by one datagram."""
    figure = Figure(f"datagram ▸ all {count:,} answers of one node", "ms")
    with daemon(1) as fence:
        questions = [Question(fence, "n0", 600) for _ in range(count)]
        fence.until(lambda: fence.get("/healthz")["waits"] == count, seconds=120)
        poll = select.epoll()
        open_ = {each.sock.fileno(): each for each in questions}
        for descriptor in open_:
            poll.register(descriptor, select.EPOLLIN)
        times = []
        with sender_of(0) as sock:
            begin = time.perf_counter()
            sock.sendto(LITTLE, ("127.0.0.1", fence.port))
        while open_:
            for descriptor, _ in poll.poll(60):
                question = open_.pop(descriptor, None)
                if question is not None:
                    poll.unregister(descriptor)
                    question.answer()
                    times.append(time.perf_counter() - begin)
        poll.close()
    figure.ours = spread(times)
    return figure


def paced(port: int, rate: int, seconds: float, sources: int, data: list[bytes], sent: Any) -> None:
    """Send at a pace, in a process of its own; ``sent`` is told how many."""
    socks = [sender_of(number) for number in range(sources)]
    for sock in socks:
        sock.connect(("127.0.0.1", port))
    begin, count = time.perf_counter(), 0
    total = len(data) if len(data) > 1 else int(rate * seconds)
    while count < total:
        due = min(total, int((time.perf_counter() - begin) * rate) + 1)
        if due - count < 8:
            time.sleep(0.0002)  # a sender that spins would take the other one's processor
        while count < due:
            socks[count % sources].send(data[count if len(data) > 1 else 0])
            count += 1
    sent.value = count
    sent_seconds = time.perf_counter() - begin
    for sock in socks:
        sock.close()
    sent.value = count if sent_seconds < seconds * 1.15 else -count  # minus: it could not keep the pace


def junk(port: int, stop: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        while not stop.is_set():
            for _ in range(100):
                sock.send(JUNK)


def rate(what: str, seconds: float, sources: int, *, signed: bool = False, flood: bool = False) -> Figure:
    """The highest pace of the ladder at which nothing is lost."""
    figure = Figure(what, "datagrams/s", {"lossless": 0})
    context = multiprocessing.get_context("spawn")
    with daemon(sources, keys=False) if not signed else daemon_with_key() as fence:
        stop = context.Event()
        flooding = context.Process(target=junk, args=(fence.port, stop))
        if flood:
            flooding.start()
        for pace in LADDER:
            data = signed_beats(int(pace * seconds)) if signed else [LITTLE]
            sent = context.Value("q", 0)
            process = context.Process(target=paced, args=(fence.port, pace, seconds, sources, data, sent))
            before_, cpu = messages(fence), cpu_seconds(fence.pid)
            process.start()
            process.join(60 + seconds)
            settle(fence)
            received = messages(fence) - before_
            used = cpu_seconds(fence.pid) - cpu
            total = abs(sent.value)
            figure.ours["a_cpu_second"] = max(figure.ours.get("a_cpu_second", 0), round(received / used))
            if received < total:
                figure.note = f"at {pace:,}/s {total - received:,} of {total:,} lost"
                break
            if sent.value < 0:
                figure.note = f"the sender cannot do {pace:,}/s on this machine"
                break
            figure.ours["lossless"] = pace
        if flood:
            health = fence.get("/healthz")
            stop.set()
            flooding.join(10)
            figure.ours["junk_meanwhile"] = health["junk"]
            figure.ours["answer_ms"] = answer_ms(fence)
    return figure


def answer_ms(fence: Fence) -> float:
    begin = time.perf_counter()
    Question(fence, "n0", 30).answer()
    return round((time.perf_counter() - begin) * 1000, 2)


@contextmanager
def daemon_with_key() -> Iterator[Fence]:
    with daemon(1, keys=True) as fence:
        yield fence


def signed_beats(count: int) -> list[bytes]:
    """One session's beats, a millisecond apart by its own clock."""
    session = struct.pack(">Qq", 1, time.time_ns())
    stamp = int(time.time() * 1000)
    return [
        encode(Message(node="n0", session=session, sequence=number + 1, time=stamp), KEY)
        for number in range(count)
    ]


def messages(fence: Fence) -> int:
    with fence.http() as http:
        text = http.get("/metrics").text
    counted = [line for line in text.splitlines() if line.startswith("kdump_fence_messages_total")]
    return int(sum(float(line.rpartition(" ")[2]) for line in counted))


def settle(fence: Fence) -> None:
    """Until it has read all that waits."""
    last = -1
    while last != (now := messages(fence)):
        last = now
        time.sleep(0.2)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident(pid: int) -> float:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def memory(count: int) -> Figure:
    """Resident memory: without nodes, with many, and with all of them dumping."""
    figure = Figure(f"memory with {count:,} nodes", "MiB")
    with daemon(1) as fence:
        figure.ours["one_node"] = round(resident(fence.pid), 1)
    with daemon(count) as fence:
        figure.ours["quiet"] = round(resident(fence.pid), 1)
        for number in range(count):
            with sender_of(number) as sock:
                sock.sendto(LITTLE, ("127.0.0.1", fence.port))
        settle(fence)
        figure.ours["all_dumping"] = round(resident(fence.pid), 1)
        begin = time.perf_counter()
        found = sum(node["off"] for node in fence.get("/v1/nodes")["nodes"])
        figure.note = (
            f"{found:,} of {count:,} off; all of /v1/nodes takes {time.perf_counter() - begin:.2f} s"
        )
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each step of the ladder")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    few = max(10, asked.samples // 4)
    todo: dict[str, Callable[[], Figure]] = {
        "before": lambda: before(asked.samples),
        "wait-1": lambda: waits(1, asked.samples),
        "wait-100": lambda: waits(100, asked.samples),
        "wait-5000": lambda: waits(5000, few),
        "all-5000": lambda: all_at_once(5000),
        "rate-1": lambda: rate("heard, one node", asked.seconds, 1),
        "rate-100": lambda: rate("heard, 100 nodes at once", asked.seconds, 100),
        "rate-junk": lambda: rate("heard, 100 nodes, under a junk flood", asked.seconds, 100, flood=True),
        "rate-signed": lambda: rate("heard, signed", asked.seconds, 1, signed=True),
        "memory": lambda: memory(10_000),
    }
    figures = []
    for name, measure in todo.items():
        if not asked.only or name in asked.only:
            figures.append(measure())
            show(figures[-1])
    result = {
        "load": os.getloadavg(),
        "processors": os.cpu_count(),
        "figures": [figure.__dict__ for figure in figures],
    }
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")
    else:
        print(json.dumps(result))
    return 0


def show(figure: Figure) -> None:
    def text(values: dict[str, float] | None) -> str:
        return "" if values is None else "  ".join(f"{name} {value:,}" for name, value in values.items())

    print(f"{figure.what:46} {text(figure.ours)}  {figure.unit}", flush=True)
    if figure.theirs is not None:
        print(f"{'  the C agent':46} {text(figure.theirs)}  {figure.unit}", flush=True)
    if figure.note:
        print(f"{'':46} {figure.note}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
