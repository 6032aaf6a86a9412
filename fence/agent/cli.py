"""``fence_kdump``: reads what is asked, does it, and ends with the exit status the cluster understands."""

from __future__ import annotations

import os
import signal
import sys

from fence.agent import inquire, metadata, options
from fence.agent.off import off
from fence.agent.options import FAILED, OK
from fence.agent.validate import validate
from fence.pair import flags
from fence.pair.say import Voice, put

STDIN_LIMIT = 1 << 20  # bytes
DISPATCH = {
    "off": off,
    "status": inquire.status,
    "list": inquire.list_nodes,
    "list-status": inquire.list_nodes,
    "monitor": inquire.monitor,
    "validate-all": validate,
}


def main() -> int:
    """Run the agent on sys.argv, or on stdin where there are no arguments; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as C: no traceback
    program, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    if program == "__main__.py":  # python -m fence.agent
        program = "fence_kdump"
    try:
        request = options.from_words(sys.argv[0], words) if words else options.from_lines(_stdin())
    except flags.BadFlag as error:
        put(2, f"{error}\n")
        put(1, options.usage(program))
        return FAILED
    except flags.BadValue as error:
        put(2, f"[error]: {error}\n")
        return FAILED
    match request.action:
        case "usage":
            put(1, options.usage(program))
        case "version":
            put(1, f"{program} {_version()}\n")
        case "metadata":
            put(1, metadata.document(program))
        case _:
            return _act(program, request)
    return OK


def _act(program: str, request: options.Request) -> int:
    voice = Voice(request.verbose, syslog_as=program)
    for complaint in request.complaints:
        voice.error(complaint)
    if request.verbose:
        put(1, _described(request))
    try:
        return DISPATCH[request.action](request, voice)
    except flags.BadValue as error:
        voice.error(str(error))
    except OSError as error:  # the port, of another kind than taken: no permission, no network
        voice.error(f"bind ({error.strerror or error})")
    return FAILED


def _described(request: options.Request) -> str:
    rows = "".join(f"[debug]:     {key:<10} = {value}\n" for key, value in request._asdict().items() if value)
    return f"[debug]: options {{\n{rows}[debug]: }}\n"


def _stdin() -> list[str]:
    data = sys.stdin.buffer.read(STDIN_LIMIT) if sys.stdin else b""
    return data.decode(errors="surrogateescape").splitlines()


def _version() -> str:
    from importlib import metadata as installed  # 30 ms, for those who ask

    try:
        return f"{installed.version('kdump-net')} (kdump-net)"
    except installed.PackageNotFoundError:
        return "(kdump-net)"
