"""A server whose spool is a small disk of its own: a tmpfs that only its processes see."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.rig.receiver import Receiver

MOUNT = 'mount -t tmpfs -o size="$1",nr_inodes=20000 tmpfs "$2" && shift 2 && exec "$@"'


def may_mount() -> bool:
    """Whether we may have a mount namespace of our own."""
    try:
        command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


@dataclass
class SmallDisk(Receiver):
    """A Receiver on a disk of `size`, as mount(8) takes it; the disk goes with the server."""

    size: str = "64m"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.root.mkdir()
        self.before = ("unshare", "--mount", "sh", "-c", MOUNT, "sh", self.size, str(self.root))

    def inside(self) -> list[str]:
        return ["nsenter", "--mount", "--target", str(self.pid)]

    @property
    def disk(self) -> Path:
        """The spool's root as this process sees it."""
        return Path(f"/proc/{self.pid}/root{self.root}")
