"""SFTP version 3, packet by packet, over the system's ssh: one request, its answer, the next request.

The format: draft-ietf-secsh-filexfer-02. SUSE's kdumptool speaks it like this itself, without
a library, and so can a hostile client.
"""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from typing import IO

from tests.rig.machine import Machine
from tests.rig.receiver import SECONDS

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, OPENDIR = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = 13, 14, 15, 16, 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED = 101, 102, 103, 104, 105, 200
FOR_WRITING, FOR_READING = 0x02 | 0x08 | 0x10, 0x01  # WRITE|CREAT|TRUNC, READ
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4


def string(value: bytes | str) -> bytes:
    """A length and the bytes."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


def number(value: int) -> bytes:
    """32 bits."""
    return struct.pack(">I", value)


@dataclass(frozen=True)
class Answer:
    """One packet of the server."""

    kind: int
    payload: bytes

    @property
    def status(self) -> int:
        """The code of a STATUS."""
        assert self.kind == STATUS, (self.kind, self.payload)
        return int.from_bytes(self.payload[:4], "big")

    @property
    def text(self) -> str:
        """The words of a STATUS."""
        assert self.kind == STATUS, (self.kind, self.payload)
        size = int.from_bytes(self.payload[4:8], "big")
        return self.payload[8 : 8 + size].decode()

    @property
    def handle(self) -> bytes:
        """The handle, as it goes back into requests."""
        assert self.kind == HANDLE, (self.kind, self.payload)
        return self.payload


class Sftp3:
    """One session. Use it as a context; leaving it ends the input and waits for ssh."""

    def __init__(self, machine: Machine, version: int = 3) -> None:
        command = ["ssh", "-F", str(machine.config), "-s", machine.target, "sftp"]
        self._ssh = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._next = 0
        self.send(INIT, number(version))
        kind, payload = self._receive()
        assert kind == VERSION
        self.version = int.from_bytes(payload[:4], "big")
        self.exit_status: int | None = None

    def __enter__(self) -> Sftp3:
        return self

    def __exit__(self, *_: object) -> None:
        self._stdin.close()
        self._stdout.close()
        self.exit_status = self._ssh.wait(SECONDS)

    def kill(self) -> None:
        """The client dies."""
        self._ssh.kill()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._ssh.stdin is not None
        return self._ssh.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._ssh.stdout is not None
        return self._ssh.stdout

    def send(self, kind: int, payload: bytes) -> None:
        """One packet, without waiting for its answer."""
        self._stdin.write(number(1 + len(payload)) + bytes([kind]) + payload)
        self._stdin.flush()

    def ask(self, kind: int, *fields: bytes) -> Answer:
        """One request and its answer."""
        self._next += 1
        self.send(kind, number(self._next) + b"".join(fields))
        answer, payload = self._receive()
        assert int.from_bytes(payload[:4], "big") == self._next
        return Answer(answer, payload[4:])

    def _receive(self) -> tuple[int, bytes]:
        size = int.from_bytes(self._stdout.read(4), "big")
        packet = self._stdout.read(size)
        assert len(packet) == size > 0, "the server ended the session"
        return packet[0], packet[1:]

    # What kdumptool does with it.

    def exists(self, path: str) -> bool:
        """STAT; anything but attributes or NO_SUCH_FILE would end kdumptool."""
        answer = self.ask(STAT, string(path))
        assert answer.kind == ATTRS or answer.status == NO_SUCH_FILE, answer
        return answer.kind == ATTRS

    def make_directories(self, path: str) -> None:
        """Each part of `path` that is not there."""
        whole = ""
        for part in path.strip("/").split("/"):
            whole += f"/{part}"
            if not self.exists(whole):
                answer = self.ask(MKDIR, string(whole), number(0))
                assert answer.status == OK, answer.text

    def put(self, path: str, content: bytes, block: int = 8192) -> None:
        """OPEN, one WRITE after the other, CLOSE."""
        handle = self.ask(OPEN, string(path), number(FOR_WRITING), number(0)).handle
        for at in range(0, len(content), block):
            answer = self.ask(WRITE, handle, struct.pack(">Q", at), string(content[at : at + block]))
            assert answer.status == OK, answer.text
        assert self.ask(CLOSE, handle).status == OK
