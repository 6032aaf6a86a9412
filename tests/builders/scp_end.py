"""The remote side of a real `scp -O`, on our rcp: what `scp -S` runs in place of ssh.

    scp -O -S SCRIPT FILE host:PATH     SCRIPT: exec python -m tests.builders.scp_end ROOT "$@"

Below ROOT, PATH is stored or sent. A file called ``full`` is refused on its way, one called
``late`` after its data, one called ``odd`` before: the three places where a disk can be full.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from receiver.wire import rcp
from receiver.wire.answers import scp_failure
from receiver.wire.commands import ScpSink, ScpSource, parse_untrusted

CHUNK = int(os.environ.get("SCP_END_CHUNK", "65536"))


def take(root: Path, command: ScpSink) -> int:
    """Store what the client sends below `root`; the exit status scp would have."""
    at = root / command.path.text.lstrip("/")
    sink = rcp.Sink(command, is_directory=at.is_dir())
    file: BinaryIO | None = None
    name = ""

    def act(event: rcp.SinkEvent) -> None:
        nonlocal file, name
        match event:
            case rcp.Reply(data):
                os.write(1, data)
            case rcp.FileStarts(path):
                name = path.name
                if name == "odd":
                    sink.refuse(f"{path}: File exists")
                else:
                    file = (root / path.text.lstrip("/")).open("wb")
            case rcp.Data(view):
                assert file is not None
                file.write(view)
                if name == "full":
                    sink.refuse(f"{name}: No space left on device")
            case rcp.FileEnds():
                assert file is not None
                file.close()
                if name == "late":
                    sink.refuse(f"{name}: Input/output error")
            case rcp.DirectoryStarts(path):
                (root / path.text.lstrip("/")).mkdir(exist_ok=True)
            case _:
                print(event, file=sys.stderr)

    for event in sink.start():
        act(event)
    while chunk := os.read(0, CHUNK):
        for event in sink.feed_untrusted(chunk):
            act(event)
    for event in sink.end():
        act(event)
    return sink.exit_status


def give(root: Path, command: ScpSource) -> int:
    """Send one file of `root`."""
    at = root / command.path.text.lstrip("/")
    if not at.is_file():
        os.write(1, scp_failure(f"{command.path}: No such file or directory"))
        return 1
    mtime = int(at.stat().st_mtime) if command.preserve else None
    source = rcp.Source(command.path.name, at.read_bytes(), mtime=mtime)
    while chunk := os.read(0, CHUNK):
        for event in source.feed_untrusted(chunk):
            match event:
                case rcp.Reply(data):
                    os.write(1, data)
                case rcp.Sent():
                    return 0
                case rcp.Failed(reason):
                    print(reason, file=sys.stderr)
                    return 1
    return 1


def main() -> int:
    """`scp -S` passes ssh's options, the host, and the remote line as the last argument."""
    root = Path(sys.argv[1])
    match parse_untrusted(sys.argv[-1]):
        case ScpSink() as command:
            return take(root, command)
        case ScpSource() as command:
            return give(root, command)
    return 126


if __name__ == "__main__":
    sys.exit(main())
