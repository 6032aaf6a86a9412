"""The receiver beside OpenSSH's sshd: the same clients, the same machine, pair by pair.

    python -m tests.bench.bench_receiver [--mebibytes 512] [--pairs 5] [--only NAME]… [--json FILE]

Needs root (sshd wants a user of its own) and makedumpfile. Every figure is measured for
both in turn, A B A B; the table shows medians and the ratio pair by pair.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import stream
from tests.bench.peers import Ours, Server, Sshd, common, cpu_seconds, memory_bytes, ours, ssh, sshd
from tests.rig.receiver import keygen

SECONDS = 300  # that any one client may take


@dataclass
class Row:
    """One figure of both servers."""

    what: str
    unit: str
    better: str  # "more" or "less"
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        """How many times better ours is: the median over the pairs."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(a / b if self.better == "more" else b / a for a, b in pairs)

    def as_dict(self) -> dict[str, object]:
        return {
            "what": self.what,
            "unit": self.unit,
            "ours": statistics.median(self.ours),
            "sshd": statistics.median(self.theirs),
            "ratio": round(self.ratio(), 2),
            "pairs": [[round(a, 4), round(b, 4)] for a, b in zip(self.ours, self.theirs, strict=True)],
        }


class Bench:
    """One run of everything that was asked for."""

    def __init__(self, directory: Path, mebibytes: int, pairs: int) -> None:
        self.directory = directory
        self.pairs = pairs
        self.source = stream.cached(directory, mebibytes)
        self.megabytes = self.source.stat().st_size / 1e6
        self.rows: list[Row] = []
        self._count = 0
        self._idle: dict[str, int] = {}  # memory of a server that has not done anything yet

    def fresh(self) -> str:
        self._count += 1
        return f"127.0.0.1-2026-01-01-{self._count:06}"

    def pair(self, row: Row, servers: tuple[Ours, Sshd], measure: Callable[[Server], float]) -> None:
        """Measure both in turn; the first pair warms up and does not count."""
        for number in range(self.pairs + 1):
            figures = [measure(server) for server in servers]
            if number:
                row.ours.append(figures[0])
                row.theirs.append(figures[1])
        self.rows.append(row)
        print(f"  {row.what}: {row.ratio():.2f}x", file=sys.stderr)

    # One stream.

    def dd(self, server: Server, *, usable: bool = False) -> float:
        """Seconds from the start of kdump-utils' upload to its exit status (or to a vmcore one can open)."""
        name = self.fresh()
        target = server.directory(name)
        run([*ssh(server), "mkdir", "-p", target])
        started = time.perf_counter()
        with self.source.open("rb") as source:
            run([*ssh(server), f"umask 0077 && dd bs=512 of='{target}/vmcore-incomplete'"], stdin=source)
        run([*ssh(server), f"mv '{target}/vmcore-incomplete' '{target}/vmcore'"])
        stored = server.stored(name)
        if usable and isinstance(server, Sshd):
            with stored.open("rb") as flat:
                run(["makedumpfile", "-R", str(stored.parent / "usable")], stdin=flat)
        seconds = time.perf_counter() - started
        assert stored.stat().st_size > 0, stored
        shutil.rmtree(stored.parent)
        return seconds

    def scp(self, server: Server) -> float:
        return self._copy(server, ["scp", "-O", "-q"], lambda end: [str(self.source), end])

    def sftp(self, server: Server) -> float:
        return self._copy(server, ["scp", "-s", "-q"], lambda end: [str(self.source), end])

    def _copy(self, server: Server, program: list[str], ends: Callable[[str], list[str]]) -> float:
        name = self.fresh()
        target = server.directory(name)
        run([*ssh(server), "mkdir", "-p", target])
        end = f"{server.user}@127.0.0.1:{target}/vmcore"
        options = ["-F", "none", "-i", str(server.key), "-P", str(server.port), *common()]
        started = time.perf_counter()
        run([*program, *options, *ends(end)])
        seconds = time.perf_counter() - started
        shutil.rmtree(server.stored(name).parent)
        return seconds

    def cpu(self, server: Server) -> float:
        before = cpu_seconds(server.pid())
        self.dd(server)
        time.sleep(0.2)  # sshd reaps its children
        return (cpu_seconds(server.pid()) - before) / (self.megabytes / 1000)

    def report(self, server: Ours, small: Path, rounds: int = 7) -> float:
        """Median seconds from the client's exit status 0 to report.json beside a real vmcore."""
        seconds = []
        for _ in range(rounds):
            name = self.fresh()
            with small.open("rb") as source:
                run([*ssh(server), f"cat > {server.directory(name)}/vmcore"], stdin=source)
            ended = time.perf_counter()
            while not (server.stored(name).parent / "report.json").exists():
                time.sleep(0.001)
            seconds.append(time.perf_counter() - ended)
        return statistics.median(seconds)

    # Many at once.

    def memory(self, server: Server, clients: int = 40) -> float:
        """Mebibytes of server memory for each upload that has sent 1 MiB and then waits."""
        before = self._idle.setdefault(server.name, memory_bytes(server.pid()))
        processes = []
        piece = self.source.read_bytes()[: 1 << 20]
        for _ in range(clients):
            target = server.directory(self.fresh())
            command = [*ssh(server), f"mkdir -p {target} && cat > {target}/vmcore"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert process.stdin is not None
            process.stdin.write(piece)
            process.stdin.flush()
            processes.append(process)
        time.sleep(3)
        used = memory_bytes(server.pid()) - before
        for process in processes:
            process.kill()
            process.communicate()
        return used / clients / (1 << 20)

    def connections(self, server: Server, at_once: int = 16, count: int = 160) -> float:
        """Seconds of server CPU for each connection, with `at_once` clients connecting all the time."""
        target = server.directory(self.fresh())
        before = cpu_seconds(server.pid())
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda _: run([*ssh(server), "mkdir", "-p", target]), range(count)))
        time.sleep(0.2)
        return (cpu_seconds(server.pid()) - before) / count

    def connection_rate(self, server: Server, at_once: int = 16, count: int = 160) -> float:
        target = server.directory(self.fresh())
        started = time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda _: run([*ssh(server), "mkdir", "-p", target]), range(count)))
        return count / (time.perf_counter() - started)

    def crowd(self, server: Ours, small: Path, clients: int = 200) -> int:
        """Dumps lost of `clients` that come at the same moment."""
        gate = threading.Barrier(clients)

        def one(number: int) -> bool:
            target = f"/var/crash/crowd-20260101-{number:04}"
            gate.wait()
            with small.open("rb") as source:
                sent = subprocess.run(
                    [*ssh(server), f"mkdir -p {target} && cat > {target}/vmcore"],
                    stdin=source,
                    timeout=SECONDS,
                )
            return sent.returncode == 0

        with ThreadPoolExecutor(clients) as pool:
            accepted = sum(pool.map(one, range(clients)))
        dumps = [dump for dump in server.receiver.dumps() if "crowd" in dump["directory"]]
        complete = [dump["verdict"] for dump in dumps].count("complete")
        print(f"  {clients} at once: {accepted} accepted, {complete} complete", file=sys.stderr)
        return clients - min(accepted, complete)


def run(command: list[str], stdin: object = subprocess.DEVNULL) -> None:
    subprocess.run(command, stdin=stdin, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)  # type: ignore[call-overload]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    small = Path(__file__).parent.parent / "data" / "vmcore.flat"
    with tempfile.TemporaryDirectory(prefix="kdump-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        key = keygen(directory)
        bench = Bench(directory, asked.mebibytes, asked.pairs)
        with ours(directory / "ours", key) as mine, sshd(directory / "sshd", key) as theirs:
            both = (mine, theirs)
            figures: dict[str, Callable[[], None]] = {
                "dd": lambda: bench.pair(Row("one stream, dd bs=512: stored", "s", "less"), both, bench.dd),
                "usable": lambda: bench.pair(
                    Row("one stream, dd bs=512: usable vmcore", "s", "less"),
                    both,
                    lambda s: bench.dd(s, usable=True),
                ),
                "scp": lambda: bench.pair(Row("one stream, scp -O", "s", "less"), both, bench.scp),
                "sftp": lambda: bench.pair(Row("one stream, scp by sftp", "s", "less"), both, bench.sftp),
                "cpu": lambda: bench.pair(Row("server CPU a GB, dd", "s/GB", "less"), both, bench.cpu),
                "memory": lambda: bench.pair(
                    Row("memory a waiting upload", "MiB", "less"), both, bench.memory
                ),
                "rate": lambda: bench.pair(
                    Row("connections, 16 at once", "1/s", "more"), both, bench.connection_rate
                ),
                "connection": lambda: bench.pair(
                    Row("server CPU a connection, 16 at once", "s", "less"), both, bench.connections
                ),
            }
            for name_, figure in figures.items():
                if not asked.only or name_ in asked.only:
                    figure()
            lost = bench.crowd(mine, small) if not asked.only or "crowd" in asked.only else None
            answered = bench.report(mine, small) if not asked.only or "report" in asked.only else None
        report(bench, lost, answered, asked.json)
    return 1 if lost else 0


def report(bench: Bench, lost: int | None, answered: float | None, to: Path | None) -> None:
    print(f"{'':42} {'ours':>10} {'sshd':>10} {'times better':>13}")
    for row in bench.rows:
        ours_, theirs = statistics.median(row.ours), statistics.median(row.theirs)
        print(f"{row.what:42} {ours_:>10.3f} {theirs:>10.3f} {row.ratio():>12.2f}x  {row.unit}")
        if row.unit == "s" and "stream" in row.what:
            rates = (bench.megabytes / ours_, bench.megabytes / theirs)
            print(f"{'':42} {rates[0]:>10.0f} {rates[1]:>10.0f} {'':13}  MB/s")
    if lost is not None:
        print(f"{'lost of 200 uploads at once':42} {lost:>10}")
    if answered is not None:
        print(f"{'from exit status 0 to report.json':42} {answered:>10.3f} {'':24}  s")
    result = {
        "megabytes": bench.megabytes,
        "rows": [row.as_dict() for row in bench.rows],
        "lost_of_200": lost,
        "report_seconds": answered,
    }
    text = json.dumps(result)
    if to:
        to.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
