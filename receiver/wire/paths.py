"""The paths clients name: parts below a virtual root, never a path of this machine.

A client's ``/var/crash/10.0.0.7-2024-05-06-07:08:09/vmcore`` is a name inside its own
name space. Relative paths start at the virtual home, which is the root.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from receiver.wire.refused import Refused

MAX_PATH = 1024  # bytes
MAX_PART = 255  # bytes, NAME_MAX of Linux
MAX_PARTS = 32


@dataclass(frozen=True, slots=True)
class ClientPath:
    """A path as a client means it, absolute below its virtual root.

    No part is empty, ``.`` or ``..``; none holds a slash, a NUL or an unprintable character.
    ``trailing_slash`` says that the client wrote ``…/`` (to scp that means a directory);
    two spellings of one path are equal.
    """

    parts: tuple[str, ...]
    trailing_slash: bool = field(default=False, compare=False)

    @property
    def text(self) -> str:
        """The path with one slash between parts: ``/`` for the root."""
        return "/" + "/".join(self.parts)

    @property
    def name(self) -> str:
        """The last part; empty for the root."""
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> ClientPath:
        """The directory above; the root is its own."""
        return ClientPath(self.parts[:-1])

    def child_untrusted(self, name: str) -> ClientPath:
        """The entry `name` of this directory.

        Raises:
            Refused: `name` is not the name of one entry, or the path grows too long.
        """
        if name in {"", ".", ".."} or "/" in name:
            raise Refused(f"'{name}' is not a file name")
        return parse_untrusted(f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text


ROOT = ClientPath(())


def parse_untrusted(text: str) -> ClientPath:
    """Read one path; ``//`` and ``.`` collapse.

    Raises:
        Refused: ``..``, NUL, control and other unprintable characters, text that was not UTF-8
            (surrogates), an empty path, too long or too deep a one.
    """
    if not text:
        raise Refused("an empty path names nothing")
    # An unprintable character in a name would travel into logs, pages and terminals.
    if not text.isprintable():
        raise Refused(f"'{text}': a path holds printable UTF-8 only")
    if len(text.encode()) > MAX_PATH:
        raise Refused(f"'{text[:64]}…': a path has at most {MAX_PATH} bytes")
    parts = tuple(part for part in text.split("/") if part not in {"", "."})
    if ".." in parts:
        raise Refused(f"'{text}': '..' leads out of the dump directory")
    if len(parts) > MAX_PARTS:
        raise Refused(f"'{text}': a path has at most {MAX_PARTS} parts")
    for part in parts:
        if len(part.encode()) > MAX_PART:
            raise Refused(f"'{part[:64]}…': a name has at most {MAX_PART} bytes")
    return ClientPath(parts, trailing_slash=text.endswith(("/", "/.")) or text == ".")
