"""The upload path tried for real: the steps every kdump client takes when it builds its image.

Source: kdump-utils mkdumprd (v1.0.61): mkdir -p, mktemp -dqp, rmdir, df.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sender.failure import RemoteError
from sender.remote.connection import Answer


class Runner(Protocol):
    """What runs a command on the server."""

    def run(self, command: str, stdin: bytes = b"") -> Answer:
        """See `Connection.run`."""


@dataclass(frozen=True, slots=True)
class Room:
    """``free_kib`` on the server beneath the path, None where df's answer could not be read."""

    path: str
    free_kib: int | None


# ssh-copy-id of OpenSSH 9.2p1 sends this; servers that only know kdump's words know it as well
INSTALL = (
    'exec sh -c \'cd; umask 077; mkdir -p ".ssh" && { [ -z `tail -1c .ssh/authorized_keys 2>/dev/null` ]'
    ' || echo >> ".ssh/authorized_keys" || exit 1; } && cat >> ".ssh/authorized_keys" || exit 1;'
    ' if type restorecon >/dev/null 2>&1; then restorecon -F ".ssh" ".ssh/authorized_keys"; fi \''
)


def install_key(server: Runner, public_key: str, target: str) -> None:
    """Append the key on the server. Raises RemoteError with the server's own words."""
    answer = server.run(INSTALL, public_key.strip().encode() + b"\n")
    if answer.status != 0:
        raise RemoteError(f"{target} did not store the key: {_words(answer)}")


def try_path(server: Runner, path: str, target: str) -> Room:
    """Make the dump directory, write into it, look at its space.

    Raises:
        RemoteError: naming the step, the server's words, and what to change.
    """
    place = path.split("%")[0].rstrip("/") or "/"
    answer = server.run(f"mkdir -p {place}")
    if answer.status != 0:
        raise RemoteError(
            f"Could not create {target}:{place},"
            f" you should check the privilege on server side ({_words(answer)})"
        )
    answer = server.run(f"mktemp -dqp {place}")
    made = answer.out.strip().splitlines()
    if answer.status != 0 or not made or not made[-1].startswith("/"):
        raise RemoteError(
            f"Could not create temporary directory on {target}:{place}."
            f" Make sure user has write permission on destination ({_words(answer)})"
        )
    answer = server.run(f"rmdir {made[-1]}")
    if answer.status != 0:
        raise RemoteError(f"{target}: {made[-1]} was made but cannot be removed ({_words(answer)})")
    return Room(place, read_df(server.run(f"df -P {place}").out))


def read_df(text: str) -> int | None:
    """Free KiB of ``df -P``'s last line, wherever it broke a long device name."""
    words = text.split()
    if len(words) < 6 or not words[-2].endswith("%") or not words[-3].isdigit():
        return None
    return int(words[-3])


def _words(answer: Answer) -> str:
    said = (answer.err or answer.out).strip().replace("\n", "; ")
    return said[:300] if said else f"it ended with {answer.status} and no word"
