"""What the agent and the sender print: ``[debug]:`` on stdout, ``[error]:`` on stderr.

The forms are those of fence-agents 4.12.1; Pacemaker copies both streams into its log. The agent writes
them to syslog as well.
"""

from __future__ import annotations

import os
import syslog


class Voice:
    """One program's output. A line of a level above ``verbose`` is not said."""

    def __init__(self, verbose: int = 0, syslog_as: str = "") -> None:
        self.verbose = verbose
        self.logs = bool(syslog_as)
        if syslog_as:
            syslog.openlog(syslog_as, syslog.LOG_PID, syslog.LOG_DAEMON)

    def debug(self, text: str, level: int = 0) -> None:
        """One line of what happens."""
        if level <= self.verbose:
            put(1, f"[debug]: {text}\n")
            self._log(syslog.LOG_INFO, text)

    def error(self, text: str, level: int = 0) -> None:
        """One line of what is wrong."""
        if level <= self.verbose:
            put(2, f"[error]: {text}\n")
            self._log(syslog.LOG_ERR, text)

    def _log(self, priority: int, text: str) -> None:
        if self.logs:
            syslog.syslog(priority, text.encode(errors="backslashreplace").decode())


def put(descriptor: int, text: str) -> None:
    """Write at once and whole. A reader that went away changes nothing of the answer, our exit status."""
    data = text.encode(errors="surrogateescape")
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError:
            return
