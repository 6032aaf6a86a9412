"""What ends a `kdump` command with a clear sentence rather than a traceback."""

from __future__ import annotations

USAGE = 1  # the seed's init script answers a wrong verb with 1, not with EX_USAGE
UNAVAILABLE = 69
NO_HOST = 68
SOFTWARE = 70
OS_FILE = 72
CANNOT_CREATE = 73
IO_ERROR = 74
PROTOCOL = 76
NO_PERMISSION = 77
CONFIG = 78


class Failure(Exception):
    """Somebody must act: the text says what, where and what to do.

    ``exit_code`` is the process's exit status, of sysexits.h where it has one.
    """

    exit_code = 1


class ConfError(Failure):
    """kdump.conf says something we cannot obey; one line of text for each error found."""

    exit_code = CONFIG


class NotPossible(Failure):
    """This host cannot do it now: no reservation, no program, no permission."""

    exit_code = 1


class RemoteError(Failure):
    """The collector refused, or is not there; the text says at which step."""

    exit_code = UNAVAILABLE
