"""Builds a guest's image on this machine, where dracut takes seconds and not minutes.

    python -m tests.e2e.prebuilt STAGE KERNEL_HOME VERSION FAMILY

runs in a mount namespace of its own with the guest's kernel in place, and leaves in STAGE/images what
`kdump start` in the guest takes for its own work: or does again, where the stamp says that it is not.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sender.conf.model import read_file
from sender.host import Host, Ran
from sender.image.build import build
from sender.image.facts import STATE, gather
from tests.e2e.machine import Kernel

REPO = Path(__file__).parent.parent.parent
CARD = "enp0s2"
DRIVERS = ("virtio_pci", "virtio_net")
ADDRESSES = {4: ("10.0.2.15", 24), 6: ("fec0::15", 64)}


def prebuild(stage: Path, kernel: Kernel, family: int) -> None:
    """For stage/kdump.conf."""
    words = [sys.executable, "-m", "tests.e2e.prebuilt", str(stage), str(kernel.home), kernel.version]
    script = (
        "mkdir -p /boot /lib/modules;"
        f" mount --bind {kernel.home}/boot /boot; mount --bind {kernel.home}/lib/modules /lib/modules;"
        f" exec {shlex.join([*words, str(family)])}"
    )
    subprocess.run(["unshare", "-m", "sh", "-ec", script], cwd=REPO, check=True, timeout=300)


@dataclass(frozen=True, slots=True)
class Guest(Host):
    """This machine's programs with the guest's network; what is written goes to ``stage``."""

    stage: Path = Path()
    family: int = 4

    def path(self, name: str | Path) -> Path:
        """Keys and images lie in the stage."""
        if str(name).startswith(STATE):
            return self.stage / "images" / Path(name).name if str(name) != STATE else self.stage / "images"
        if str(name).startswith("/root/.ssh/"):
            return self.stage / "id"
        return Path(str(name))

    def read(self, name: str) -> str | None:
        """The guest's own name."""
        return "crashnode1\n" if name == "/proc/sys/kernel/hostname" else Host.read(self, name)

    def run(
        self,
        argv: Sequence[str],
        seconds: float = 60,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        show: bool = False,
    ) -> Ran:
        """``ip`` answers for the guest; a host key is never missing."""
        address, bits = ADDRESSES[self.family]
        if argv[0] == "ssh-keygen":
            return Ran(0, "10.0.2.2 ssh-ed25519 AAAA\n", "")
        if argv[0] == "ip" and "route" in argv:
            route = {"dst": argv[-1], "dev": CARD, "prefsrc": address}
            return Ran(0, json.dumps([route]), "")
        if argv[0] == "ip":
            info = {"family": "inet6" if self.family == 6 else "inet", "local": address, "prefixlen": bits}
            card = {
                "ifname": CARD,
                "address": "52:54:00:12:34:56",
                "addr_info": [{**info, "scope": "global"}],
            }
            return Ran(0, json.dumps([card]), "")
        return Host.run(self, argv, seconds, env, stdin, show)


def main() -> None:
    """In the namespace."""
    stage, version, family = Path(sys.argv[1]), sys.argv[3], int(sys.argv[4])
    (stage / "images").mkdir(exist_ok=True)
    host = Guest(stage=stage, family=family)
    config = read_file(stage / "kdump.conf").require()
    facts, _ = gather(host, config)
    facts = replace(facts, network=replace(facts.network, card_drivers=DRIVERS))
    build(host, config, facts, version, lambda by_dracut, reasons: None)
    (stage / f"images/initrd-{version}.img").unlink()  # the guest's own plan comes on top


if __name__ == "__main__":
    main()
