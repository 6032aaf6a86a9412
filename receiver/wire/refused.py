"""The one error that a client's input raises."""

from __future__ import annotations

MAX_REASON = 300  # characters: one line of a console, whatever the client put into it


class Refused(Exception):
    """A client said something no kdump client says.

    ``str()`` is the reason: one line, printable, at most `MAX_REASON` characters,
    so that it may go to a log, to a terminal and back to the client as it is.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason[: MAX_REASON + 1]))

    def __str__(self) -> str:
        return str(self.args[0])


def printable(text: str, limit: int = MAX_REASON) -> str:
    """One printable line of at most `limit` characters: controls, bidi marks and surrogates escaped."""
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text[: limit + 1]
    )
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
