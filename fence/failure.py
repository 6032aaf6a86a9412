"""What ends a command with a clear sentence rather than a traceback."""

from __future__ import annotations


class Failure(Exception):
    """Somebody outside must act: the text says what, where and what to do.

    ``exit_code`` is the process's exit status, of sysexits.h where it has one.
    """

    exit_code = 1
