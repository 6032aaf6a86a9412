"""The server's own keys and the pins of the last start."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.hosts import certificates, hostkeys
from receiver.hosts.hostkeys import PINS, Change, HostKeyError
from tests.builders.ssh_keys import fingerprint, keygen, public

SECONDS = 120


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory after the first start."""
    state = tmp_path_factory.mktemp("made")
    hostkeys.load(state)
    return state


@pytest.fixture
def state(tmp_path: Path, made: Path) -> Path:
    """A copy of it."""
    copy = tmp_path / "state"
    copy.mkdir()
    for path in made.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
        (copy / path.name).chmod(0o600)
    return copy


def test_the_first_start_makes_keys_for_new_and_old_clients(made: Path) -> None:
    """EL5 and EL6 know nothing but RSA; private halves are the server's alone."""
    keys = {key.get_algorithm(): key for key in hostkeys.load(made)}
    assert list(keys) == ["ssh-ed25519", "ssh-rsa"]
    for name, key in (("ed25519", keys["ssh-ed25519"]), ("rsa", keys["ssh-rsa"])):
        path = made / f"ssh_host_{name}_key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert fingerprint(path) == fingerprint(Path(f"{path}.pub")) == key.get_fingerprint()
    assert {key.bits for key in hostkeys.fingerprints(made)} == {256, 3072}


def test_the_keys_stay_the_same(made: Path) -> None:
    """A client has them in an image that was built once."""
    before = hostkeys.fingerprints(made)
    assert [key.get_fingerprint() for key in hostkeys.load(made)] == [key.fingerprint for key in before]
    assert hostkeys.fingerprints(made) == before


STARTING = """
import sys
from pathlib import Path
from receiver.hosts import hostkeys

print("ready", flush=True)
sys.stdin.readline()
for key in hostkeys.load(Path(sys.argv[1])):
    print(key.get_fingerprint(), flush=True)
"""


def test_processes_that_start_at_once_have_the_same_keys(tmp_path: Path) -> None:
    """Four workers, one empty state directory."""
    command = [sys.executable, "-c", STARTING, str(tmp_path / "state")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = set()
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    finally:
        for process in processes:
            answers.add(process.communicate(timeout=SECONDS)[0])
    (one,) = answers
    assert len(one.split()) == 2


def test_keys_of_an_sshd_may_be_put_in_place(tmp_path: Path) -> None:
    """The receiver takes the place of an sshd, and no client has to learn a new key."""
    state = tmp_path / "state"
    state.mkdir()
    for kind in ("ed25519", "ecdsa", "rsa"):
        keygen(state, f"ssh_host_{kind}_key", kind)
        (state / f"ssh_host_{kind}_key").chmod(0o644)  # as a careless copy has it
    (state / "ssh_host_rsa_key.pub").unlink()
    keys = hostkeys.load(state)
    assert [key.get_algorithm() for key in keys] == ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]
    assert [key.get_fingerprint() for key in keys] == [
        key.fingerprint for key in hostkeys.fingerprints(state)
    ]
    assert stat.S_IMODE((state / "ssh_host_ecdsa_key").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_key_that_cannot_be_read_is_never_replaced(state: Path, content: str) -> None:
    """A new key in its place would shut out every client; somebody has to look."""
    path = state / "ssh_host_rsa_key"
    path.write_text(content)
    with pytest.raises(HostKeyError, match=r"ssh_host_rsa_key: .*restore it from a backup"):
        hostkeys.load(state)
    assert path.read_text() == content


def test_a_key_with_a_passphrase_is_said_to_have_one(state: Path) -> None:
    """Nobody is there to type it."""
    path = state / "ssh_host_ed25519_key"
    command = ["ssh-keygen", "-q", "-p", "-N", "secret", "-P", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=SECONDS)
    with pytest.raises(HostKeyError, match="without a passphrase"):
        hostkeys.load(state)


def authorities(tmp_path: Path, *names: str) -> certificates.Authorities:
    path = tmp_path / "user_ca"
    for name in names:
        if not (tmp_path / name).exists():
            keygen(tmp_path, name)
    path.write_text("".join(public(tmp_path / name) for name in names))
    return certificates.load(path)


def test_what_changed_since_the_last_start_is_told_once(state: Path, tmp_path: Path) -> None:
    """A changed host key or CA is either the operator's doing or somebody else's."""
    keys = hostkeys.load(state)
    assert hostkeys.changes(state, keys, None) == [], "the first start is no change"
    assert hostkeys.changes(state, keys, None) == []
    one = authorities(tmp_path, "one")
    (first,) = one.fingerprints
    assert hostkeys.changes(state, keys, one) == [Change("user CA", "none", first)]
    both = authorities(tmp_path, "one", "two")
    assert hostkeys.changes(state, keys, both) == [
        Change("user CA", first, " ".join(sorted(both.fingerprints)))
    ]
    before = keys[0].get_fingerprint()
    (state / "ssh_host_ed25519_key").unlink()
    keys = hostkeys.load(state)
    after = keys[0].get_fingerprint()
    assert hostkeys.changes(state, keys, both) == [Change("host key ssh-ed25519", before, after)]
    assert hostkeys.changes(state, keys, None)[0].now == "none"


def test_damaged_pins_do_not_stop_the_start(state: Path) -> None:
    """They are written anew, and the log says so."""
    keys = hostkeys.load(state)
    hostkeys.changes(state, keys, None)
    (state / PINS).write_text("{")
    (change,) = hostkeys.changes(state, keys, None)
    assert change == Change("pins", f"{state / PINS}: not JSON", "written anew")
    assert hostkeys.changes(state, keys, None) == []
