"""A program on a terminal of its own, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

SECONDS = 60.0  # that anything may take to show


class Terminal:
    """`command` on a terminal of `columns` by `lines`. Use it as a context: the end kills what still runs."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 120,
        lines: int = 30,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        self._resize(columns, lines)
        plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # so that Ctrl-C and the size reach it
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**plain, "TERM": "xterm-256color", **(environment or {})},
        )  # fmt: skip
        os.close(theirs)
        self.raw = b""  # everything that was written

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """As when a person pulls at the window's corner."""
        self._screen.resize(lines, columns)
        self._resize(columns, lines)

    def type(self, keys: str) -> None:
        """Press `keys`."""
        os.write(self._ours, keys.encode())

    @property
    def shown(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def colours(self, word: str) -> set[str]:
        """The colours that the letters of `word` have, where it stands first."""
        for number, line in enumerate(self._screen.display):
            if (column := line.find(word)) >= 0:
                cells = self._screen.buffer[number]
                return {cells[place].fg for place in range(column, column + len(word))}
        raise AssertionError(f"{word!r} is not on the screen:\n{self.shown}")

    def until(self, seen: str | Callable[[str], bool], seconds: float = SECONDS) -> str:
        """Read until the pattern is on the screen, or the condition holds; what is shown then."""
        fits = seen if callable(seen) else lambda text: re.search(seen, text) is not None
        end = time.monotonic() + seconds
        while not fits(self.shown):
            if time.monotonic() > end or not self._read(end - time.monotonic()):
                raise AssertionError(f"{seen!r} never came; the screen:\n{self.shown}\n{self.raw[-2000:]!r}")
        return self.shown

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, seconds))
        try:
            piece = os.read(self._ours, 65536) if ready else b""
        except OSError:  # EIO: the other end is closed
            piece = b""
        self.raw += piece
        self._stream.feed(piece)
        return bool(piece)

    def end(self, number: signal.Signals | None = None) -> int:
        """Wait until the program ends (after signal `number`); its status."""
        if number is not None:
            self._process.send_signal(number)
        end = time.monotonic() + SECONDS
        while self._read(end - time.monotonic()):
            pass
        return self._process.wait(SECONDS)
