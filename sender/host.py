"""The running host as the verbs see it: its files, its programs, its words to the operator and to syslog.

The one place where this package starts programs; every wait has a bound.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sender.failure import NotPossible


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished program; ``status`` 127 where there is none of that name, 124 where its time was up."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Host:
    """``root`` is / except in tests, where it holds the few files of /proc, /sys and /etc that matter."""

    root: Path = Path("/")
    machine: str = field(default_factory=platform.machine)
    release: str = field(default_factory=platform.release)

    def path(self, name: str | Path) -> Path:
        """A path of this host under ``root``."""
        return self.root / str(name).lstrip("/")

    def read(self, name: str) -> str | None:
        """A file's text, None where there is none or it cannot be read."""
        try:
            return self.path(name).read_text(errors="replace")
        except OSError:
            return None

    def run(
        self,
        argv: Sequence[str],
        seconds: float = 60,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        show: bool = False,
    ) -> Ran:
        """Run a program to its end, at most ``seconds``; ``show`` leaves its output on the terminal."""
        pipe = None if show else subprocess.PIPE
        try:
            done = subprocess.run(
                list(argv),
                input=stdin,
                stdin=None if stdin is not None else subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                timeout=seconds,
                env={**os.environ, **(env or {})},
                check=False,
            )
        except FileNotFoundError:
            return Ran(127, "", f"{argv[0]}: not found")
        except PermissionError:
            return Ran(126, "", f"{argv[0]}: not executable")
        except subprocess.TimeoutExpired:
            return Ran(124, "", f"{argv[0]}: no answer in {seconds:g} s")
        out, err = done.stdout or b"", done.stderr or b""
        return Ran(done.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def log(self, text: str) -> None:
        """One line to syslog, tagged as the init script of RHEL 6 tagged it."""
        self.run(["logger", "-p", "daemon.info", "-t", "kdump", text], seconds=5)

    def write(self, name: str | Path, data: bytes, mode: int = 0o600) -> None:
        """Replace a file at once and durably: a crash leaves the old or the new one, never a half."""
        place = self.path(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, place)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    @contextlib.contextmanager
    def lock(self, seconds: float = 600) -> Iterator[None]:
        """One `kdump` at a time.

        Raises:
            NotPossible: another one has held the lock for ``seconds``.
        """
        place = self.path("/run/lock/kdump")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file = place.open("w")
        except OSError as error:
            raise NotPossible(f"{place}: {error.strerror}; run kdump as root") from error
        with file:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise NotPossible(
                            f"another kdump has held {place} for {seconds:g} s; see `fuser {place}`"
                        ) from None
                    time.sleep(0.2)
            yield
