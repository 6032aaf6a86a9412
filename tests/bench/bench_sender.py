"""From panic to reboot: our capture image beside Debian's kdump-tools; same memory, same ssh server.

    python -m tests.bench.bench_sender [--pairs 1] [--memory 768] [--reserve 192M] [--least] [--json FILE]

Two guests of Debian 12 in software emulation (the cloud kernel, which may differ by a point release), one
after the other, A B A B; with --least also the smallest crashkernel= that brings a whole dump, in steps of
8 MiB. The first run makes both guests (debootstrap: ten minutes); what is made is kept. Needs root, the
packages of `tests/packages.sh e2e` and debootstrap; without them it says so and ends well.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.guest import guest
from tests.e2e.machine import CACHE, Run, lacking, run_qemu
from tests.e2e.server import Sshd, sshd
from tests.e2e.stock_guest import disk, has_crash_initrd, keep_crash_initrd, stock_argv

SECONDS = 900
LEAST, STEP, MOST = 48, 8, 192  # MiB of crashkernel=
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
    files = server.files()
    dump = max((path.stat().st_size for path in files.values()), default=0)
    if dump < 1 << 20 or any("incomplete" in name for name in files):
        raise SystemExit(f"no whole dump came: {sorted(files)}")
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
    """Unmodified kdump-tools. Where it has to make its crash initrd first, the next boot is measured."""
    while True:
        fresh = not has_crash_initrd()
        image = disk(work / "stock.img", "root@10.0.2.2", server.port, server.key, str(server.dumps))
        run = run_qemu(stock_argv(image, memory, reserve), CACHE / "last/stock.log", SECONDS)
        if fresh:
            keep_crash_initrd(image)
        image.unlink()
        figures = _figures(run, server, _listed(run, "initrd.img-"))
        if not fresh:
            return figures


def least(one: Callable[[Sshd, Path, int, str], Figures], server: Sshd, work: Path, memory: int) -> int:
    """The smallest crashkernel= in MiB with which ``one`` works, in steps of `STEP`, at most `MOST`."""
    fails, works = LEAST, MOST
    while works - fails > STEP:
        middle = (fails + works) // 2 // STEP * STEP
        try:
            one(server, work, memory, f"{middle}M")
        except SystemExit:
            shutil.rmtree(server.dumps)
            server.dumps.mkdir()
            fails = middle
        else:
            works = middle
        print(f"{one.__name__}: {fails} MiB is too small, {works} MiB enough", file=sys.stderr, flush=True)
    return works


def main() -> None:
    """Run the pairs and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--memory", type=int, default=768, help="MiB of the guest")
    parser.add_argument("--reserve", default="192M", help="crashkernel=")
    parser.add_argument("--least", action="store_true", help="also find the smallest crashkernel=")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if words := [*lacking(), *([] if shutil.which("debootstrap") else ["debootstrap"])]:
        print(f"sender: not measured here, for want of {', '.join(words)}")
        return
    found: dict[str, list[Figures]] = {"kdump-net": [], "kdump-tools": []}
    with tempfile.TemporaryDirectory(prefix="bench-sender-") as name, sshd(Path(name) / "sshd") as server:
        for pair in range(options.pairs):
            work = Path(name) / f"pair-{pair}"
            work.mkdir()
            found["kdump-net"].append(ours(server, work, options.memory, options.reserve))
            found["kdump-tools"].append(stock(server, work, options.memory, options.reserve))
        smallest = {}
        if options.least:
            work = Path(name) / "least"
            work.mkdir()
            for who, one in (("kdump-net", ours), ("kdump-tools", stock)):
                smallest[who] = least(one, server, work, options.memory)
    print(f"{'':<14}{'panic to reboot':>16}{'image':>10}{'dump':>10}")
    for who, rows in found.items():
        seconds = statistics.median(row.seconds for row in rows)
        image, dump = rows[-1].image_bytes / 1e6, rows[-1].dump_bytes / 1e6
        needs = f"   crashkernel={smallest[who]}M" if smallest else ""
        print(f"{who:<14}{seconds:>14.1f} s{image:>7.1f} MB{dump:>7.1f} MB{needs}")
    ratios = [b.seconds / a.seconds for a, b in zip(found["kdump-net"], found["kdump-tools"], strict=True)]
    print(f"kdump-tools takes {statistics.median(ratios):.2f} times as long (median of {len(ratios)} pairs)")
    if options.json:
        value: dict[str, object] = {
            who: [{f: getattr(row, f) for f in Figures.__slots__} for row in rows]
            for who, rows in found.items()
        }
        value["least_crashkernel_mib"] = smallest
        options.json.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
