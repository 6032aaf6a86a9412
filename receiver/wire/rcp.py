"""The rcp protocol that ``scp -t`` and ``scp -f`` speak, both remote ends of it.

Lockstep: the sink answers byte 0 to its own start, to each control line and to the
byte that closes each file; byte 1 with a line is an error, byte 2 a fatal one. Source:
OpenSSH 9.2p1 scp.c, functions `sink`, `source`, `rsource` and `response`.

Both classes are fed the client's bytes in any cut and yield events; they raise nothing
for what a client sends. Take all events of one call before the next call.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from receiver.wire.answers import scp_failure
from receiver.wire.paths import ClientPath
from receiver.wire.refused import Refused, printable
from receiver.wire.vocabulary import ScpSink

MAX_LINE = 2048  # bytes of a control line; OpenSSH 9.2p1 reads them into a buffer of this size
MAX_SIZE = (1 << 63) - 1  # bytes of a file, off_t
OK = b"\0"

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class FileStarts:
    """A file of `size` bytes follows; one `FileEnds` will, unless it is refused now.

    `path` is where it goes, `name` what the client calls it (printable).
    """

    path: ClientPath
    name: str
    mode: int
    size: int
    mtime: int | None = None  # seconds of the epoch, with -p


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of the file: a view into the fed bytes, valid until they change."""

    view: memoryview


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The file is over. `error` says why it is not what its header promised; None when it is."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class DirectoryStarts:
    """Files of the directory `path` follow."""

    path: ClientPath
    name: str
    mode: int


@dataclass(frozen=True, slots=True)
class DirectoryEnds:
    """Back to the directory above `path`."""

    path: ClientPath


@dataclass(frozen=True, slots=True)
class Times:
    """The times of the next file or directory, in seconds of the epoch."""

    mtime: int
    atime: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """One entry failed, here or at the client; the session goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes for the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The session is over; nothing more is read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The client has confirmed the file it fetched."""


SinkEvent = FileStarts | Data | FileEnds | DirectoryStarts | DirectoryEnds | Times | Trouble | Reply | Failed
SourceEvent = Reply | Sent | Failed


class _State(enum.Enum):
    LINE = enum.auto()  # a control line, or the text of an error
    DATA = enum.auto()
    STATUS = enum.auto()  # the byte that follows a file's data
    STATUS_LINE = enum.auto()  # the text after an error in its place
    OVER = enum.auto()


_ENTRY = re.compile(r"([CD])([0-7]{4}) ([0-9]{1,20}) (.+)", re.DOTALL)
_TIMES = re.compile(r"T([0-9]{1,18}) [0-9]{1,6} ([0-9]{1,18}) [0-9]{1,6}")


class Sink:
    """``scp -t``: takes files from the client.

    `is_directory`: the target exists as one, so that names count; so they do with ``-d``
    and a trailing slash. After `FileStarts` and `DirectoryStarts` (before any data), during
    `Data`, and after `FileEnds` the caller may `refuse`; the answer that follows tells the
    client. Byte 0 after `FileEnds` is the promise that the file is stored: it is yielded only
    when the caller asks for the next event.
    """

    def __init__(self, command: ScpSink, *, is_directory: bool = False) -> None:
        self._recursive = command.recursive
        # The directories entered, and the one that names are resolved against; None: the target is a file.
        self._target = command.path
        self._into_directory = is_directory or command.directory or command.path.trailing_slash
        self._entered: list[ClientPath] = []
        self._state = _State.LINE
        self._line = bytearray()
        self._size = 0
        self._left = 0
        self._mtime: int | None = None
        self._refusal: str | None = None
        self._troubles = 0

    @property
    def exit_status(self) -> int:
        """What scp would exit with after the client's end of input."""
        return 1 if self._troubles else 0

    def refuse(self, reason: str) -> None:
        """Answer the current entry with an error; what still comes of it is dropped unseen."""
        self._refusal = reason

    def start(self) -> Iterator[SinkEvent]:
        """Say that the sink is ready; the client waits for it."""
        yield Reply(OK)

    def feed_untrusted(self, data: Bytes) -> Iterator[SinkEvent]:
        """Take the client's next bytes, any number of them."""
        view = memoryview(data).cast("B")
        at = 0
        while at < len(view) and self._state is not _State.OVER:
            match self._state:
                case _State.DATA:
                    piece = view[at : at + self._left]
                    at += len(piece)
                    self._left -= len(piece)
                    if self._left == 0:
                        self._state = _State.STATUS
                    if self._refusal is None:
                        yield Data(piece)
                case _State.STATUS:
                    status = view[at]
                    if status == 0:
                        at += 1
                        yield from self._file_ends(None)
                    else:
                        self._state = _State.STATUS_LINE
                case _:
                    at, line = self._take_line(view, at)
                    if line is not None:
                        yield from self._on_line(line)
                    elif len(self._line) >= MAX_LINE:
                        yield from self._fail(f"a control line has at most {MAX_LINE} bytes")

    def end(self) -> Iterator[SinkEvent]:
        """The client's end of input: fine between files, a failure anywhere else."""
        if self._state in {_State.DATA, _State.STATUS, _State.STATUS_LINE}:
            arrived = self._size - self._left
            reason = f"the client stopped after {arrived} of {self._size} bytes"
            if self._left == 0:
                reason = "the client stopped before it confirmed the file"
            self._troubles += 1
            self._state = _State.OVER
            yield FileEnds(reason)
            yield Failed(reason)
        elif self._state is _State.LINE and (self._line or self._entered):
            self._troubles += 1
            self._state = _State.OVER
            yield Failed("the client stopped in the middle of the protocol")
        self._state = _State.OVER

    def _take_line(self, view: memoryview, at: int) -> tuple[int, bytes | None]:
        room = MAX_LINE - len(self._line)
        piece = bytes(view[at : at + room])
        line, newline, _ = piece.partition(b"\n")
        self._line += line
        if not newline:
            return at + len(piece), None
        whole = bytes(self._line)
        self._line.clear()
        return at + len(line) + 1, whole

    def _on_line(self, line: bytes) -> Iterator[SinkEvent]:
        text = line.decode(errors="surrogateescape")
        if self._state is _State.STATUS_LINE:
            if text[:1] == "\x01":
                yield from self._file_ends(printable(text[1:]) or "the client reports an error")
            elif text[:1] == "\x02":
                yield FileEnds(printable(text[1:]))
                yield self._gave_up(text[1:])
            else:
                yield from self._fail(f"protocol error: {text}")
            return
        match text[:1]:
            case "\x01":
                self._troubles += 1
                yield Trouble(printable(text[1:]))
            case "\x02":
                yield self._gave_up(text[1:])
            case "E" if text == "E" and self._entered:
                yield DirectoryEnds(self._entered.pop())
                yield from self._answer()
            case "T" if found := _TIMES.fullmatch(text):
                self._mtime = int(found[1])
                yield Times(int(found[1]), int(found[2]))
                yield Reply(OK)
            case "C" | "D" if found := _ENTRY.fullmatch(text):
                yield from self._on_entry(found)
            case _:
                yield from self._fail(f"protocol error: {text}")

    def _on_entry(self, found: re.Match[str]) -> Iterator[SinkEvent]:
        kind, mode, size, name = found[1], int(found[2], 8), int(found[3]), found[4]
        mtime, self._mtime = self._mtime, None
        if name in {".", ".."} or "/" in name:
            yield from self._fail(f"unexpected filename: {name}")
            return
        if size > MAX_SIZE:
            yield from self._fail(f"size out of range: {size}")
            return
        if kind == "D" and not self._recursive:
            yield from self._fail("received directory without -r")
            return
        try:
            path = self._resolve_untrusted(name)
        except Refused as refused:
            self.refuse(str(refused))
            yield Trouble(str(refused))
            yield from self._answer()
            return
        if kind == "D":
            yield DirectoryStarts(path, printable(name), mode)
            if self._refusal is None:
                self._entered.append(path)
            yield from self._answer()
            return
        self._size = self._left = size
        yield FileStarts(path, printable(name), mode, size, mtime)
        if self._refusal is None:
            self._state = _State.DATA if size else _State.STATUS
        yield from self._answer()

    def _resolve_untrusted(self, name: str) -> ClientPath:
        """Where `name` goes: below a directory by its name, else to the target, whatever its name."""
        if self._entered:
            return self._entered[-1].child_untrusted(name)
        return self._target.child_untrusted(name) if self._into_directory else self._target

    def _file_ends(self, error: str | None) -> Iterator[SinkEvent]:
        self._state = _State.LINE
        if error is not None:
            self._troubles += 1
        yield FileEnds(self._refusal or error)
        yield from self._answer()

    def _answer(self) -> Iterator[SinkEvent]:
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            yield Reply(OK)
        else:
            self._troubles += 1
            yield Reply(scp_failure(refusal))

    def _fail(self, reason: str) -> Iterator[SinkEvent]:
        if self._state is _State.STATUS_LINE:
            yield FileEnds(printable(reason))
        self._over()
        yield Reply(scp_failure(reason, fatal=True))
        yield Failed(printable(reason))

    def _gave_up(self, reason: str) -> Failed:
        self._over()
        return Failed(printable(reason))

    def _over(self) -> None:
        self._troubles += 1
        self._state = _State.OVER
        self._line.clear()


class Source:
    """``scp -f``: hands one small file to the client, as `name`. `mtime` answers ``-p``."""

    def __init__(self, name: str, content: bytes, *, mode: int = 0o600, mtime: int | None = None) -> None:
        self._steps = [f"C{mode:04o} {len(content)} {name}\n".encode(), content + OK]
        if mtime is not None:
            self._steps.insert(0, f"T{mtime} 0 {mtime} 0\n".encode())
        self._error: bytearray | None = None
        self._over = False

    def feed_untrusted(self, data: Bytes) -> Iterator[SourceEvent]:
        """Take the client's answers: byte 0 each, or an error line."""
        for byte in memoryview(data).cast("B"):
            if self._over:
                return
            if self._error is not None:
                if byte == 0x0A or len(self._error) >= MAX_LINE:
                    self._over = True
                    text = self._error.decode(errors="surrogateescape")
                    yield Failed(printable(text) or "the client reports an error")
                else:
                    self._error.append(byte)
            elif byte:
                self._error = bytearray() if byte in {1, 2} else bytearray([byte])
            elif self._steps:
                yield Reply(self._steps.pop(0))
            else:
                self._over = True
                yield Sent()

    def end(self) -> Iterator[SourceEvent]:
        """The client's end of input: a failure unless it has confirmed the file."""
        if not self._over:
            self._over = True
            yield Failed("the client left before it confirmed the file")
