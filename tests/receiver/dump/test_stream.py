"""Whatever the client's compressor does, the dump inside is found while it arrives."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.dump import stream
from receiver.dump.kind import Kind
from receiver.dump.stream import Intake
from receiver.dump.wrappers import unwrapper

LIMIT = 1 << 40


def fed(content: bytes, step: int) -> tuple[Intake, int]:
    """An intake that got `content` in pieces of `step`, and how many bytes it wrote."""
    intake = Intake(LIMIT)

    def writes() -> Iterator[int]:
        for at in range(0, len(content), step):
            yield sum(len(write.data) for write in intake.feed_untrusted(content[at : at + step]))
        yield sum(len(write.data) for write in intake.finish())

    return intake, sum(writes())


@pytest.mark.parametrize("step", [1460, 32768, 2 << 20])
@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz -0", "lz4", "lz4 -B4", "zstd"])
def test_a_dump_in_any_compressor_s_stream_is_opened(data: Path, program: str, step: int) -> None:
    """Also lz4(1)'s, which gives nothing before the end of a block of 4 MiB."""
    dump = (data / "vmcore.flat").read_bytes()
    sent = subprocess.run([*program.split(), "-c"], input=dump, capture_output=True, check=True).stdout
    intake, _ = fed(sent, step)
    assert (intake.kind, intake.wrapper) == (Kind.FLATTENED, Kind(program.split()[0]))
    assert intake.ended


class Counting:
    """An opener that counts what it is given."""

    def __init__(self, kind: str) -> None:
        self.opener = unwrapper(kind)
        self.given = 0

    @property
    def ended(self) -> bool:
        return self.opener.ended

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[bytes]:
        self.given += len(data)
        return self.opener.feed_untrusted(data)


def test_looking_inside_opens_every_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends byte by byte cannot make the server open the same bytes again and again."""
    openers: list[Counting] = []

    def counting(kind: str) -> Counting:
        openers.append(Counting(kind))
        return openers[-1]

    monkeypatch.setattr(stream, "unwrapper", counting)
    sent = subprocess.run(["lz4", "-c"], input=b"KDUMP" * 5000, capture_output=True, check=True).stdout
    intake, _ = fed(sent[:-10], 1)
    assert intake.kind is Kind.LZ4
    (trial,) = openers
    assert trial.given == len(sent) - 10
