"""From panic to reboot: our capture image beside Debian's kdump-tools; same memory, same ssh server.

    python -m tests.bench.bench_sender [--pairs 1] [--memory 768] [--reserve 192M] [--json FILE]

Two guests of Debian 12 in software emulation (the cloud kernel, which may differ by a point release), one
after the other, A B A B. The first run makes both (debootstrap and one dracut build: ten minutes); what is
made is kept. Needs root, the packages of `tests/packages.sh e2e` and debootstrap.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.machine import CACHE, Run, run_qemu
from tests.e2e.server import Sshd, sshd
from tests.e2e.stock_guest import disk, stock_argv
from tests.e2e.test_crash import guest

SECONDS = 900
PANIC, END = "sysrq: Trigger a crash", "Restarting system"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one crash: seconds from panic to reboot, bytes of image and of dump."""

    seconds: float
    image_bytes: int
    dump_bytes: int


def _figures(run: Run, server: Sshd, image_bytes: int) -> Figures:
    panic = run.at(PANIC)
    end = run.at(END, panic or 0)
    if panic is None or end is None:
        raise SystemExit("the guest did not crash and come back:\n" + run.text[-2000:])
    dump = max((path.stat().st_size for path in server.files().values()), default=0)
    shutil.rmtree(server.dumps)
    server.dumps.mkdir()
    return Figures(end - panic, image_bytes, dump)


def _listed(run: Run, name: str) -> int:
    """The size that `ls -l` in the guest printed for a file."""
    return max(
        (int(line.split()[4]) for _, line in run.lines if name in line and line.startswith("-")), default=0
    )


def ours(server: Sshd, work: Path, memory: int, reserve: str) -> Figures:
    """`kdump start` in the guest, panic, dump, reboot."""
    conf = "ssh root@10.0.2.2:{port}\npath {dumps}\ncore_collector makedumpfile -c -d 31\nssh_compress none\n"
    run = guest(work, server, conf, seconds=SECONDS, memory=memory, reserve=reserve)
    return _figures(run, server, _listed(run, "initrd-"))


def stock(server: Sshd, work: Path, memory: int, reserve: str) -> Figures:
    """Unmodified kdump-tools. Its first boot makes its crash initrd; the second is measured."""
    image = disk(work / "stock.img", "root@10.0.2.2", server.port, server.key, str(server.dumps))
    argv = stock_argv(image, memory, reserve)
    run = Run()
    for life in (1, 2):
        run = run_qemu(argv, CACHE / "last" / f"stock-{life}.log", SECONDS)
        if life == 1:
            shutil.rmtree(server.dumps)
            server.dumps.mkdir()
    image.unlink()
    return _figures(run, server, _listed(run, "initrd.img-"))


def main() -> None:
    """Run the pairs and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--memory", type=int, default=768, help="MiB of the guest")
    parser.add_argument("--reserve", default="192M", help="crashkernel=")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[Figures]] = {"kdump-net": [], "kdump-tools": []}
    with tempfile.TemporaryDirectory(prefix="bench-sender-") as name, sshd(Path(name) / "sshd") as server:
        for pair in range(options.pairs):
            work = Path(name) / f"pair-{pair}"
            work.mkdir()
            found["kdump-net"].append(ours(server, work, options.memory, options.reserve))
            found["kdump-tools"].append(stock(server, work, options.memory, options.reserve))
    print(f"{'':<14}{'panic to reboot':>16}{'image':>10}{'dump':>10}")
    for who, rows in found.items():
        seconds = statistics.median(row.seconds for row in rows)
        image, dump = rows[-1].image_bytes / 1e6, rows[-1].dump_bytes / 1e6
        print(f"{who:<14}{seconds:>14.1f} s{image:>7.1f} MB{dump:>7.1f} MB")
    ratios = [b.seconds / a.seconds for a, b in zip(found["kdump-net"], found["kdump-tools"], strict=True)]
    print(f"kdump-tools takes {statistics.median(ratios):.2f} times as long (median of {len(ratios)} pairs)")
    if options.json:
        value = {
            who: [{f: getattr(row, f) for f in Figures.__slots__} for row in rows]
            for who, rows in found.items()
        }
        options.json.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
