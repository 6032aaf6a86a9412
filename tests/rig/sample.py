"""A real dump, and how the field's tools see one."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A real dump: the stream that a capture kernel sent, and what `makedumpfile -R` makes of it."""

    stream: Path
    rearranged: Path
    sha256: str
    osrelease: str

    @classmethod
    def of(cls, stream: Path, directory: Path) -> Sample:
        """Rearrange `stream` into `directory`."""
        rearranged = directory / "vmcore"
        command = ["makedumpfile", "-R", str(rearranged)]
        with stream.open("rb") as flat:
            subprocess.run(command, stdin=flat, check=True, capture_output=True, timeout=60)
        return cls(stream, rearranged, digest(rearranged), osrelease(rearranged))


def digest(path: Path) -> str:
    """sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def osrelease(vmcore: Path) -> str:
    """The kernel's release as crash(8) reads it."""
    command = ["crash", "--osrelease", str(vmcore)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def kernel_log(vmcore: Path, directory: Path) -> str:
    """The kernel's log as makedumpfile reads it; `directory` takes its output."""
    log = directory / "makedumpfile.log"
    command = ["makedumpfile", "--dump-dmesg", str(vmcore), str(log)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return log.read_text(errors="replace")
