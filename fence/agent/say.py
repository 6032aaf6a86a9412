"""What the agent prints and logs: ``[debug]:`` on stdout, ``[error]:`` on stderr, both also to syslog.

The forms are those of fence-agents 4.12.1; Pacemaker copies both streams into its log.
"""

from __future__ import annotations

import os
import syslog


class Voice:
    """The agent's output. A line of a level above ``verbose`` is not said."""

    def __init__(self, program: str, verbose: int = 0) -> None:
        self.verbose = verbose
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)

    def debug(self, text: str, level: int = 0) -> None:
        """One line of what happens."""
        if level <= self.verbose:
            put(1, f"[debug]: {text}\n")
            syslog.syslog(syslog.LOG_INFO, text)

    def error(self, text: str, level: int = 0) -> None:
        """One line of what is wrong."""
        if level <= self.verbose:
            put(2, f"[error]: {text}\n")
            syslog.syslog(syslog.LOG_ERR, text)


def put(descriptor: int, text: str) -> None:
    """Write at once and whole. A reader that went away changes nothing of the answer, our exit status."""
    data = text.encode(errors="surrogateescape")
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError:
            return
