"""Where the C programs of fence-agents lie; each distribution has its own place for the sender."""

from __future__ import annotations

import shutil
from pathlib import Path

SENDER_PLACES = (
    "/usr/libexec/fence-agents/fence_kdump_send",  # Debian
    "/usr/libexec/fence_kdump_send",  # Fedora, RHEL
    "/usr/lib/fence_kdump_send",  # SUSE
)
C_AGENT = shutil.which("fence_kdump", path="/usr/sbin:/sbin") or "/usr/sbin/fence_kdump"
C_SENDER = next(filter(lambda place: Path(place).exists(), SENDER_PLACES), SENDER_PLACES[0])
WHY_NOT = None if Path(C_AGENT).exists() and Path(C_SENDER).exists() else "no C fence_kdump here"
