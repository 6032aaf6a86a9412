"""The server that most of the crashing guests send to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Sshd, sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    home = Path("/var/tmp") / f"kdump-net-e2e-{tmp_path.name}"
    with sshd(home) as running:
        yield running
    shutil.rmtree(home)
