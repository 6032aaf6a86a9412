"""Keys that many tests want: making them is what takes the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders.ssh_keys import keygen, public


@dataclass(frozen=True)
class Keys:
    """Public key lines, each of a key of its own."""

    ed25519: str
    rsa: str
    ecdsa: str
    weak_rsa: str
    more: tuple[str, ...]
    directory: Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("keys")
    more = tuple(public(keygen(directory, f"more{n}")) for n in range(10))
    return Keys(
        ed25519=public(keygen(directory, "ed25519", comment="root@web01")),
        rsa=public(keygen(directory, "rsa", "rsa", 2048, comment="root@old")),
        ecdsa=public(keygen(directory, "ecdsa", "ecdsa", 521)),
        weak_rsa=public(keygen(directory, "weak", "rsa", 1024)),
        more=more,
        directory=directory,
    )
