"""The enrolled hosts, as files that several processes use at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.hosts.identity import BadName, Denied, Identity
from receiver.hosts.keys import KEYS_OF_HOST, HostKeys
from receiver.hosts.public_key import KeyRefused, PublicKey, parse_untrusted
from receiver.hosts.records import StateError
from tests.receiver.hosts.conftest import Keys

SECONDS = 120


@pytest.fixture
def hosts(tmp_path: Path) -> HostKeys:
    return HostKeys(tmp_path / "state")


def name_of(found: Identity | Denied) -> str:
    assert isinstance(found, Identity), found
    return found.name


def fingerprint(line: str) -> str:
    return parse_untrusted(line).fingerprint


def test_an_enrolled_host_comes_in_and_nobody_else(hosts: HostKeys, keys: Keys) -> None:
    """The key decides, whatever the client calls itself."""
    added = hosts.add("web01", keys.ed25519)
    found = hosts.find(added.key.fingerprint, "10.0.0.7")
    assert found == Identity("web01", "web01", "key", "10.0.0.7", added.key.fingerprint)
    assert hosts.find(fingerprint(keys.rsa), "10.0.0.7") == Denied(
        f"no host has the key {fingerprint(keys.rsa)}"
    )


def test_another_process_sees_a_new_host_at_once(hosts: HostKeys, keys: Keys, tmp_path: Path) -> None:
    """`host add` needs no signal to the server, and `host remove` none either."""
    server = HostKeys(tmp_path / "state")
    hosts.add("web01", keys.ed25519)
    assert name_of(server.find(fingerprint(keys.ed25519), "10.0.0.7")) == "web01"
    hosts.remove("web01")
    assert isinstance(server.find(fingerprint(keys.ed25519), "10.0.0.7"), Denied)


def test_addresses_bind_a_key(hosts: HostKeys, keys: Keys) -> None:
    """A stolen key is of no use elsewhere."""
    hosts.add("web01", keys.ed25519, addresses=["10.0.0.7", "2001:db8::/64"])
    key = fingerprint(keys.ed25519)
    assert name_of(hosts.find(key, "10.0.0.7")) == "web01"
    assert name_of(hosts.find(key, "2001:db8::5")) == "web01"
    assert hosts.find(key, "10.0.0.8") == Denied(f"web01's key {key} may not come from 10.0.0.8")
    assert isinstance(hosts.find(key, "unknown"), Denied)


def test_hosts_that_share_a_key_are_told_apart_by_address(hosts: HostKeys, keys: Keys) -> None:
    """One image, a thousand machines: each has a name space of its own."""
    hosts.add("fleet", keys.ed25519, shared=True)
    key = fingerprint(keys.ed25519)
    assert name_of(hosts.find(key, "10.0.0.7")) == "fleet@10.0.0.7"
    assert name_of(hosts.find(key, "2001:db8::5")) == "fleet@2001:db8::5"
    assert isinstance(hosts.find(key, "unknown"), Denied)


def test_a_key_belongs_to_one_host(hosts: HostKeys, keys: Keys) -> None:
    """Else whose dump is it? The refusal names the owner."""
    hosts.add("web01", keys.ed25519)
    with pytest.raises(KeyRefused, match=r"is already the key of web01; .* --shared"):
        hosts.add("db01", keys.ed25519)
    assert [host.name for host in hosts.hosts()] == ["web01"]


def test_a_second_key_is_said_to_be_one(hosts: HostKeys, keys: Keys) -> None:
    """A host that was there has now another key: the caller can log it."""
    first = hosts.add("web01", keys.ed25519)
    second = hosts.add("web01", keys.rsa)
    assert (first.before, first.others) == (None, ())
    assert (second.before, second.others) == (None, (first.key.fingerprint,))
    assert len(hosts.host("web01").keys) == 2


def test_the_same_key_again_follows_the_new_rules(hosts: HostKeys, keys: Keys) -> None:
    """The operator's last word holds."""
    before = hosts.add("web01", keys.ed25519, addresses=["10.0.0.7"])
    again = hosts.add("web01", keys.ed25519, addresses=["10.0.0.8"])
    assert again.before == before.key
    assert isinstance(hosts.find(again.key.fingerprint, "10.0.0.7"), Denied)
    assert name_of(hosts.find(again.key.fingerprint, "10.0.0.8")) == "web01"


def test_enrolling_does_not_lift_what_the_operator_bound(hosts: HostKeys, keys: Keys) -> None:
    """A token may enrol a key; it may not free one from its addresses."""
    before = hosts.add("web01", keys.ed25519, addresses=["10.0.0.7"])
    (again,) = hosts.enrol("web01", [parse_untrusted(keys.ed25519)], how="token x")
    assert again.key == before.key
    assert isinstance(hosts.find(again.key.fingerprint, "10.0.0.8"), Denied)


def test_several_keys_are_enrolled_all_or_none(hosts: HostKeys, keys: Keys) -> None:
    """ssh-copy-id sends several; one that is another host's spoils them all."""
    hosts.add("db01", keys.rsa)
    with pytest.raises(KeyRefused, match="already the key of db01"):
        hosts.enrol("web01", [parse_untrusted(keys.ed25519), parse_untrusted(keys.rsa)], how="token x")
    assert not hosts.exists("web01")
    assert isinstance(hosts.find(fingerprint(keys.ed25519), "10.0.0.7"), Denied)


def test_one_key_of_several_can_be_removed(hosts: HostKeys, keys: Keys) -> None:
    """A host changes its key: add the new one, then remove the old one."""
    hosts.add("web01", keys.ed25519)
    hosts.add("web01", keys.rsa)
    assert hosts.remove("web01", fingerprint(keys.ed25519)) == [fingerprint(keys.ed25519)]
    assert isinstance(hosts.find(fingerprint(keys.ed25519), "10.0.0.7"), Denied)
    assert name_of(hosts.find(fingerprint(keys.rsa), "10.0.0.7")) == "web01"
    assert hosts.remove("web01", fingerprint(keys.ed25519)) == []
    assert hosts.remove("web01", "SHA256:nonsense") == []
    assert hosts.remove("web01") == [fingerprint(keys.rsa)]
    assert hosts.hosts() == []
    assert hosts.is_empty()


@pytest.mark.parametrize("name", ["..", "web01/../web02", "", "web 01"])
def test_no_name_removes_what_is_not_a_host(hosts: HostKeys, keys: Keys, name: str) -> None:
    """A name is never a path."""
    hosts.add("web02", keys.ed25519)
    assert hosts.remove(name) == []
    assert hosts.exists("web02")
    with pytest.raises(BadName):
        hosts.add(name, keys.rsa)


def test_a_host_has_so_many_keys_and_no_more(
    hosts: HostKeys, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of many uses cannot fill the disk."""
    monkeypatch.setattr("receiver.hosts.keys.KEYS_OF_HOST", 2)
    for line in keys.more[:2]:
        hosts.add("web01", line)
    with pytest.raises(KeyRefused, match=r"more than 2 keys; .*host remove web01 --key"):
        hosts.add("web01", keys.more[2])
    hosts.add("web01", keys.more[1], addresses=["10.0.0.7"])
    assert KEYS_OF_HOST > 2


def test_a_login_looks_at_two_files_however_many_hosts_there_are(hosts: HostKeys, keys: Keys) -> None:
    """Ten thousand hosts cost a login nothing."""
    for n, line in enumerate(keys.more):
        hosts.add(f"host{n}", line)
    seen: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir"):
            seen.append(str(arguments[0]))

    sys.addaudithook(watch)  # cannot be removed: `watching` ends it
    found = hosts.find(fingerprint(keys.more[3]), "10.0.0.7")
    watching = False
    assert name_of(found) == "host3"
    assert [Path(path).parent.name for path in seen] == ["by-key", "blocked"]


def test_only_the_receiver_may_read_the_files(hosts: HostKeys, keys: Keys, tmp_path: Path) -> None:
    """0600 in 0700, whatever the umask."""
    hosts.add("web01", keys.ed25519)
    for path in (tmp_path / "state").rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert path.is_symlink() or mode == (0o700 if path.is_dir() else 0o600)


def damage(state: Path, text: str) -> Path:
    (path,) = (state / "hosts" / "by-name").rglob("*.json")
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": "web01"}', "\0" * 100])
def test_a_damaged_record_lets_nobody_in_and_is_named(
    hosts: HostKeys, keys: Keys, tmp_path: Path, text: str
) -> None:
    """A disk fault costs one host, not the server; `host add` mends it."""
    hosts.add("web01", keys.ed25519)
    path = damage(tmp_path / "state", text)
    found = hosts.find(fingerprint(keys.ed25519), "10.0.0.7")
    assert isinstance(found, Denied)
    assert path.name in found.reason
    (host,) = hosts.hosts()
    assert host.keys == ()
    assert str(path) in host.damaged[0]
    hosts.add("web01", keys.ed25519)
    assert name_of(hosts.find(fingerprint(keys.ed25519), "10.0.0.7")) == "web01"


def test_a_record_of_another_key_or_host_lets_nobody_in(hosts: HostKeys, keys: Keys, tmp_path: Path) -> None:
    """Files that were copied about must not make one host another."""
    hosts.add("web01", keys.ed25519)
    path = damage(tmp_path / "state", "")
    record = {
        **dict.fromkeys(("algorithm", "key", "comment", "added", "how"), ""),
        **{
            "host": "web01",
            "fingerprint": fingerprint(keys.rsa),
            "bits": 1,
            "addresses": [],
            "shared": False,
        },
    }
    path.write_text(json.dumps(record))
    assert "it holds the key" in str(hosts.find(fingerprint(keys.ed25519), "10.0.0.7"))
    path.write_text(json.dumps(record | {"host": "db01", "fingerprint": fingerprint(keys.ed25519)}))
    assert "it names the host 'db01'" in str(hosts.find(fingerprint(keys.ed25519), "10.0.0.7"))


def test_a_state_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """One sentence and no traceback, with what to do."""
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(StateError, match=r"state.*see `root` and `state_dir`"):
        HostKeys(tmp_path / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes into other users' directories")
def test_what_root_enrols_the_receivers_user_may_read(tmp_path: Path, keys: Keys) -> None:
    """`sudo kdump-receiver host add` beside a service that has a user of its own."""
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4321, 4321)
    HostKeys(state).add("web01", keys.ed25519)
    owners = {path.lstat().st_uid for path in state.rglob("*") if not path.is_symlink()}
    assert owners == {4321}


# One process for all crashes: it forks for each, and loads the libraries once.
CRASHING = """
import os, shutil, sys
from pathlib import Path
from receiver.hosts.keys import HostKeys
from receiver.hosts.public_key import parse_untrusted

left, counting = 0, False
CHANGES = {"open", "os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.link"}

def crash(event, arguments):
    global left
    if counting and event in CHANGES:
        left -= 1
        if left == 0:
            os._exit(9)

sys.addaudithook(crash)
start, base, verb, *lines = sys.argv[1:]
keys = [parse_untrusted(line) for line in lines]

def do(hosts):
    if verb == "enrol":
        hosts.enrol("web01", keys, how="token x")
    else:
        hosts.remove("web01")

for step in range(1, 500):
    state = Path(base, f"{verb}{step}")
    shutil.copytree(start, state, symlinks=True)
    child = os.fork()
    if child == 0:
        hosts = HostKeys(state)
        left, counting = step, True
        do(hosts)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(step)
        break
    hosts = HostKeys(state)
    valid = [key.fingerprint for host in hosts.hosts() for key in host.keys]
    for key in keys:  # what is listed is what gets in
        if (type(hosts.find(key.fingerprint, "::1")).__name__ == "Identity") != (key.fingerprint in valid):
            sys.exit(f"step {step}: the list and the login disagree")
    do(hosts)  # and the next try does all of it
    left_over = {path.name for path in state.rglob("*.json")}
    wanted = len(keys) if verb == "enrol" else 0
    valid = [key for host in hosts.hosts() for key in host.keys]
    if len(valid) != wanted or len(left_over) != wanted or any(host.damaged for host in hosts.hosts()):
        sys.exit(f"step {step}: {valid} {left_over}")
else:
    sys.exit("never came to an end")
"""


@pytest.mark.parametrize("verb", ["enrol", "remove"])
def test_a_crash_at_any_step_leaves_a_list_that_says_who_gets_in(
    tmp_path: Path, keys: Keys, verb: str
) -> None:
    """kill -9 between any two changes to the disk: nobody gets in unlisted, and the next try mends it."""
    lines = keys.more[:2]
    start = tmp_path / "start"
    hosts = HostKeys(start)
    if verb == "remove":
        hosts.enrol("web01", [parse_untrusted(line) for line in lines], how="token x")
    command = [sys.executable, "-c", CRASHING, str(start), str(tmp_path), verb, *lines]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_a_full_disk_enrols_nothing(hosts: HostKeys, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not stored is not valid, and the operator reads why."""
    written: list[Path] = []

    def full(path: Path, _record: object) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))

    wanted: list[PublicKey] = [parse_untrusted(line) for line in keys.more[:3]]
    with monkeypatch.context() as patch:
        patch.setattr("receiver.hosts.keys.write", full)
        with pytest.raises(StateError, match="No space left on device"):
            hosts.enrol("web01", wanted, how="token x")
    written.clear()
    link = Path.symlink_to

    def full_of_links(path: Path, target: Path) -> None:
        full(path, None)
        link(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", full_of_links)
        with pytest.raises(StateError, match="No space left on device"):
            hosts.enrol("web01", wanted, how="token x")
    assert all(isinstance(hosts.find(key.fingerprint, "::1"), Denied) for key in wanted)
    assert len(hosts.enrol("web01", wanted, how="token x")) == 3
