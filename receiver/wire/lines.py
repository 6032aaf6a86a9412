"""Words grouped into the simple commands of a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.wire.refused import Refused
from receiver.wire.words import Operator, Token, Word


@dataclass(frozen=True, slots=True)
class Simple:
    """One simple command of a line: its words, the file it writes to, and what stood before it."""

    after: Operator | None
    words: tuple[Word, ...]
    into: Word | None = None

    @property
    def name(self) -> str:
        return self.words[0].text


def simple_commands(tokens: Sequence[Token]) -> list[Simple]:
    """Group tokens into simple commands; newlines and ``;`` may also lead and trail."""
    commands: list[Simple] = []
    after: Operator | None = None
    words: list[Word] = []
    into: Word | None = None
    waits_for_file = False

    def finish() -> None:
        nonlocal words, into
        if waits_for_file:
            raise Refused("'>' names no file")
        if into is not None and not words:
            raise Refused("'>' follows no command")
        if words:
            commands.append(Simple(after, tuple(words), into))
        elif after is Operator.AND:
            raise Refused("'&&' is followed by no command")
        words, into = [], None

    for token in tokens:
        match token:
            case Word() if waits_for_file:
                into, waits_for_file = token, False
            case Word() if into is not None:
                raise Refused(f"'{token.text}' is not understood: it follows the file after '>'")
            case Word():
                words.append(token)
            case Operator.INTO:
                if waits_for_file or into is not None:
                    raise Refused("'>' is not understood a second time")
                waits_for_file = True
            case Operator.AND | Operator.THEN:
                if token is Operator.AND and not words:
                    raise Refused("'&&' follows no command")
                finish()
                after = token
    finish()
    return commands
