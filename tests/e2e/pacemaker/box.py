"""A box: a copy-on-write copy of this machine for packages and clusters that it shall not keep."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INSIDE = Path(__file__).with_name("inside.sh")
CHECKOUT = Path(__file__).parents[3]


class Box:
    """Each ``run`` has namespaces of its own; files stay from one to the next, processes and networks do not.

    ``out`` is a folder of the host that the box sees as /box.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        for name in ("upper", "work", "root", "out"):
            (folder / name).mkdir(parents=True)

    def run(
        self, *command: str, internet: bool = False, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside; ``internet``: in the host's network, else in one with a loopback only."""
        namespaces = ["--mount", "--pid", "--ipc", "--uts", *([] if internet else ["--net"])]
        argv: Sequence[str] = [
            "unshare", *namespaces, "--fork", "--kill-child", "--",
            "sh", str(INSIDE), str(self.folder), str(CHECKOUT), *command,
        ]  # fmt: skip
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout)

    def install(self, *packages: str) -> None:
        """Install Debian packages into the box; their services are not started.

        Raises:
            RuntimeError: apt-get failed.
        """
        script = (
            "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d"
            ' && apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"'
        )
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        done = self.run(*environment, "sh", "-c", script, "sh", *packages, internet=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"apt-get in the box: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def remove(self) -> None:
        """Delete what was installed; a gigabyte is not left to pytest's own keeping."""
        shutil.rmtree(self.folder, ignore_errors=True)


def why_not() -> str | None:
    """Why no box can be made here, or None."""
    if os.geteuid() != 0:
        return "a box needs root (overlay and namespaces)"
    if not Path("/usr/bin/apt-get").exists():
        return "the box is filled by apt-get, which is not here"
    return None
