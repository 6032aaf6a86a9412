"""Builds a guest's image on this machine, where dracut takes seconds and not minutes.

    python -m tests.e2e.prebuilt STAGE KERNEL_HOME VERSION

runs in a mount namespace of its own with the guest's kernel in place, and leaves in STAGE/images what
`kdump start` in the guest takes for its own work: or does again, where the stamp says that it is not.
The guest's disk is not there; a kdump.conf that needs one names its drivers in extra_modules.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sender.conf.model import read_file
from sender.host import Host, Ran
from sender.image.build import build
from sender.image.facts import STATE, gather
from tests.e2e.machine import Kernel

REPO = Path(__file__).parent.parent.parent
DRIVERS = ("virtio_pci", "virtio_net")
UUID = "03138356-5e61-4ab3-b58e-27507ac41937"  # of the guest's first disk
CARD = {"ifname": "enp0s2", "address": "52:54:00:12:34:56"}


def address(text: str, bits: int, **more: Any) -> list[dict[str, Any]]:
    """An interface's ``addr_info``, as ``ip -j`` prints it."""
    family = "inet6" if ":" in text else "inet"
    return [{"family": family, "local": text, "prefixlen": bits, "scope": "global", **more}]


# what `ip -j -d address` says in guests of each kind; the last interface has the address
NETWORKS: dict[str, list[dict[str, Any]]] = {
    "ipv4": [{**CARD, "addr_info": address("10.0.2.15", 24)}],
    "ipv6": [{**CARD, "addr_info": address("fec0::15", 64)}],
    "dhcp": [{**CARD, "addr_info": address("10.0.2.15", 24, dynamic=True)}],
    **{
        kind: [
            {**CARD, "master": f"{kind}0"},
            {
                "ifname": f"{kind}0",
                "linkinfo": {"info_kind": kind},
                "addr_info": address("10.0.2.15", 24),
            },
        ]
        for kind in ("bond", "bridge")
    },
}


def prebuild(stage: Path, kernel: Kernel, network: str) -> None:
    """For stage/kdump.conf in a guest with one of `NETWORKS`."""
    (stage / "links.json").write_text(json.dumps(NETWORKS[network]))
    words = [sys.executable, "-m", "tests.e2e.prebuilt", str(stage), str(kernel.home), kernel.version]
    script = (
        "mkdir -p /boot /lib/modules;"
        f" mount --bind {kernel.home}/boot /boot; mount --bind {kernel.home}/lib/modules /lib/modules;"
        f" exec {shlex.join(words)}"
    )
    subprocess.run(["unshare", "-m", "sh", "-ec", script], cwd=REPO, check=True, timeout=300)


@dataclass(frozen=True, slots=True)
class Guest(Host):
    """This machine's programs with the guest's network; what is written goes to ``stage``."""

    stage: Path = Path()

    def path(self, name: str | Path) -> Path:
        """Keys and images lie in the stage."""
        if str(name).startswith(STATE):
            return self.stage / "images" / Path(name).name if str(name) != STATE else self.stage / "images"
        if str(name).startswith("/root/.ssh/"):
            return self.stage / "id"
        if str(name).startswith("/opt/kdump/"):
            return self.stage / "scripts" / Path(name).name
        if str(name).startswith("/dev/disk/by-uuid/"):
            return Path("/dev/vda")
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
        if argv[0] == "ssh-keygen":
            return Ran(0, "10.0.2.2 ssh-ed25519 AAAA\n", "")
        if argv[0] == "findmnt":
            disk = {"source": "/dev/vda", "fstype": "ext4", "target": "/", "uuid": UUID, "fsroot": "/"}
            return Ran(0, json.dumps({"filesystems": [disk]}), "")
        if argv[0] == "ip":
            links = json.loads((self.stage / "links.json").read_text())
            last = links[-1]
            route = {"dst": argv[-1], "dev": last["ifname"], "prefsrc": last["addr_info"][0]["local"]}
            return Ran(0, json.dumps([route] if "route" in argv else links), "")
        return Host.run(self, argv, seconds, env, stdin, show)


def main() -> None:
    """In the namespace."""
    stage, version = Path(sys.argv[1]), sys.argv[3]
    (stage / "images").mkdir(exist_ok=True)
    host = Guest(stage=stage)
    config = read_file(stage / "kdump.conf").require()
    facts, _ = gather(host, config)
    facts = replace(facts, network=replace(facts.network, card_drivers=DRIVERS))
    build(host, config, facts, version, lambda by_dracut, reasons: None)
    (stage / f"images/initrd-{version}.img").unlink()  # the guest's own plan comes on top


if __name__ == "__main__":
    main()
