"""Root's shell on a fresh host, for lines that are pasted as they are: with a /root of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SECONDS = 60
# The lines say ~/.ssh and /root/.ssh, and ssh asks the password database where home is: so this is /root.
_MOUNT = 'mount --bind "$1" /root && cd /root && exec sshpass -e bash -c "$2"'


def typed(home: Path, line: str, password: str = "") -> subprocess.CompletedProcess[str]:
    """Run `line`, with `home` as /root, and type `password` where something asks for one."""
    options = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *options, "sh", "-c", _MOUNT, "sh", str(home), line]
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", "LC_ALL": "C", "SSHPASS": password}
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
