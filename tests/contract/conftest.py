"""One collector for all families, and the dump that all of them send."""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.spool import manifest
from tests.rig.machine import Machine
from tests.rig.receiver import Receiver
from tests.rig.sample import Sample, digest, kernel_log, osrelease


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A server with its default settings. Tests share it as hosts share a collector: each is another host."""
    with Receiver(tmp_path_factory.mktemp("collector")) as receiver:
        yield receiver
    assert "Traceback" not in receiver.log.read_text()


@pytest.fixture(scope="session")
def host(collector: Receiver) -> Callable[..., Machine]:
    """A fresh enrolled host: `host(NAME, KEYTYPE, SSH_OPTIONS)`."""
    number = itertools.count(1)

    def enrol(name: str, kind: str = "ed25519", options: dict[str, str] | None = None) -> Machine:
        return Machine.enrolled(collector, f"{name}-{next(number)}", kind, options)

    return enrol


@pytest.fixture(scope="session")
def sample(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The dump of tests/data."""
    return Sample.of(data / "vmcore.flat", tmp_path_factory.mktemp("sample"))


@pytest.fixture
def whole(sample: Sample, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`whole(MACHINE, CLIENT, FILES…)`: its only dump arrived whole, and the field's tools open it."""

    def check(machine: Machine, client: str, *files: str, of: Sample = sample) -> dict[str, Any]:
        dump, directory = machine.dump(), machine.directory()
        assert (dump["verdict"], dump["client"]) == ("complete", client), json.dumps(dump, indent=1)
        ours = manifest.OURS  # the reports follow the last byte
        there = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
        assert there - ours == {"vmcore", *files}
        assert {file["name"] for file in dump["files"]} == {"vmcore", *files}
        vmcore = next(file for file in dump["files"] if file["name"] == "vmcore")
        assert digest(directory / "vmcore") == of.sha256 == vmcore["sha256"]
        assert vmcore["bytes"] == (directory / "vmcore").stat().st_size
        assert dump["kernel_release"] == osrelease(directory / "vmcore") == of.osrelease
        assert f"Linux version {of.osrelease}" in kernel_log(directory / "vmcore", tmp_path)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE((directory / name).stat().st_mode) for name in there} == {0o600}
        return dump

    return check
