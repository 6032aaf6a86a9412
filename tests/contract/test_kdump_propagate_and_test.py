"""`kdump propagate` and `kdump test` against the real `kdump-receiver`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sender.failure import RemoteError
from sender.verbs import trial
from sender.verbs.propagate import Options, propagate
from tests.e2e.server import Receiver, receiver
from tests.sender.conftest import Fake, fake  # noqa: F401  # a fixture


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path / "receiver", "somebody-else") as running:
        yield running


def test_a_token_is_all_that_a_new_host_needs(ours: Receiver, fake: Fake, tmp_path: Path) -> None:  # noqa: F811
    """From no key to a dump that the receiver calls whole, with one token given by file."""
    made = subprocess.run(
        [*ours.tool, "token", "create", "--json"], capture_output=True, text=True, timeout=60
    )
    token = json.loads(made.stdout)["token"]
    secret = tmp_path / "token"
    secret.write_text(token + "\n")
    (tmp_path / "hosts").write_text("127.0.0.1 192.0.2.9\n")
    fake.conf(f"ssh kdump@127.0.0.1:{ours.port}\npath /var/crash\nssh_compress none\n")
    assert propagate(fake.session, Options(accept_new=True, password_file=str(secret), seconds=20)) == 0, (
        fake.warned
    )
    assert "can be written to" in fake.said
    # the second time the key alone opens
    assert propagate(fake.session, Options(seconds=20)) == 0
    for compress in ("none", "zstd"):
        fake.conf(f"ssh kdump@127.0.0.1:{ours.port}\npath /var/crash\nssh_compress {compress}\n")
        assert trial.test(fake.session) == 0, fake.warned
    dumps = ours.dumps()
    assert [dump["verdict"] for dump in dumps] == ["complete", "complete"]
    assert all(str(dump["directory"]).startswith("kdump-test-") for dump in dumps)


def test_a_wrong_token_is_told_in_one_sentence(ours: Receiver, fake: Fake, tmp_path: Path) -> None:  # noqa: F811
    """No traceback, and nothing pinned is lost."""
    secret = tmp_path / "token"
    secret.write_text("wrong\n")
    (tmp_path / "hosts").write_text("127.0.0.1 192.0.2.9\n")
    fake.conf(f"ssh kdump@127.0.0.1:{ours.port}\npath /var/crash\n")
    with pytest.raises(RemoteError, match="could not transfer"):
        propagate(fake.session, Options(accept_new=True, password_file=str(secret), seconds=20))
