"""`propagate` of every distribution: a token typed as the password leaves the host's key, and nothing else.

tests/receiver/hosts/test_door.py asks the same door who comes in; here it is what stock clients send.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from receiver.hosts.tokens import Tokens
from tests.builders.installers import INSTALLERS
from tests.rig.machine import Machine
from tests.rig.receiver import Receiver
from tests.rig.sample import Sample

Made = Callable[..., str]


@pytest.fixture
def token(collector: Receiver) -> Made:
    """`token(HOST, USES)`: its text."""

    def make(host: str | None, uses: int = 1) -> str:
        tokens = Tokens(collector.root / ".state")
        return tokens.create(host=host, uses=uses, expires_in_seconds=600, now=time.time())[1]

    return make


@pytest.fixture
def short() -> Iterator[Path]:
    """A home with a short name: `ssh-copy-id -s` makes a socket in it, whose name has 108 bytes at most."""
    with tempfile.TemporaryDirectory() as home:
        yield Path(home)


def typed(home: Path, password: str, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `command` and type `password` where it asks."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C", "SSHPASS": password}
    line = ["sshpass", "-e", *command]
    return subprocess.run(line, env=environment, input=stdin, capture_output=True, timeout=60, check=False)


def newcomer(collector: Receiver, name: str, kind: str = "ed25519", **options: str) -> Machine:
    """A host that nobody knows, whose ssh may ask for a password."""
    return Machine.stranger(collector, name, kind, {"BatchMode": "no"} | options)


def installed(machine: Machine, password: str, text: str, keys: bytes | None = None) -> int:
    """`ssh HOST TEXT < key.pub`, as the scripts do; its exit status."""
    public = machine.key.with_suffix(".pub").read_bytes() if keys is None else keys
    command = ("ssh", "-F", str(machine.config), "-o", "PubkeyAuthentication=no", machine.target, text)
    return typed(machine.home, password, *command, stdin=public).returncode


def known_as(machine: Machine) -> bool:
    """Whether its key opens the door."""
    return machine.ssh("exit").returncode == 0


@pytest.mark.parametrize("number", range(len(INSTALLERS)), ids=list(INSTALLERS))
def test_every_ssh_copy_id_leaves_its_key(collector: Receiver, token: Made, number: int) -> None:
    """The remote text of each version, by real ssh, the token as password; then the key opens the door."""
    machine = newcomer(collector, f"copy-id-{number}")
    assert installed(machine, token(machine.name), list(INSTALLERS.values())[number]) == 0
    assert known_as(machine)


@pytest.mark.parametrize("option", [(), ("-s",)], ids=["by a shell's text", "by sftp"])
def test_the_installed_ssh_copy_id_leaves_its_key(
    collector: Receiver, token: Made, short: Path, option: tuple[str, ...]
) -> None:
    """Its probe, its banner check and its upload; run again, it finds the key there."""
    machine = newcomer(collector, f"copy-id{''.join(option)}", kind="rsa")
    command = ("ssh-copy-id", *option, "-i", str(machine.key), "-F", str(machine.config), machine.target)
    (short / ".ssh").mkdir()
    first = typed(short, token(machine.name), *command)
    assert first.returncode == 0, first.stderr.decode()
    assert b"Number of key(s) added: 1" in first.stdout
    again = typed(short, "no password is asked for", *command)
    assert b"already exist on the remote system" in again.stderr
    assert known_as(machine)


def test_an_enrolled_host_sends_its_dump(collector: Receiver, token: Made, sample: Sample) -> None:
    """What is it all for: the dump lies under the name that the token was made for."""
    machine = newcomer(collector, "fresh")
    assert installed(machine, token("fresh"), INSTALLERS["10.5p1"]) == 0
    stream = sample.stream.read_bytes()
    assert machine.ssh("dd of=/var/crash/fresh-2024-04-02-11:22:33/vmcore", stdin=stream).returncode == 0
    assert machine.dump()["verdict"] == "complete"


def test_a_token_for_anybody_names_hosts_by_address(collector: Receiver, token: Made) -> None:
    """One token rolls out a fleet: each host is known by the address that it came from."""
    text = token(None, uses=3)
    for last in (11, 12):
        machine = newcomer(collector, f"fleet-{last}", BindAddress=f"127.0.0.{last}")
        assert installed(machine, text, INSTALLERS["10.5p1"]) == 0
        machine.name = f"127.0.0.{last}"
        assert machine.ssh("dd of=/var/crash/x/vmcore-dmesg.txt", stdin=b"text").returncode == 0
        assert machine.dump()["host"] == machine.name


def test_one_use_is_one_use_for_two_at_once(collector: Receiver, token: Made) -> None:
    """Two hosts with the same one-time token at the same moment: one gets in."""
    text = token(None)
    machines = [newcomer(collector, f"race-{n}", BindAddress=f"127.0.0.{20 + n}") for n in range(4)]
    with ThreadPoolExecutor(len(machines)) as pool:
        statuses = list(pool.map(lambda machine: installed(machine, text, INSTALLERS["10.5p1"]), machines))
    assert sum(status == 0 for status in statuses) == 1
    assert [known_as(machine) for machine in machines] == [status == 0 for status in statuses]


def test_revoked_and_used_up_tokens_open_nothing(collector: Receiver, token: Made) -> None:
    """ssh asks for the password again, and the log says which token it was."""
    revoked, used = token("late"), token("late")
    assert collector.cli("token", "revoke", revoked.split("-")[1]).returncode == 0
    first = newcomer(collector, "late", BindAddress="127.0.0.30")
    assert installed(first, used, INSTALLERS["10.5p1"]) == 0
    second = newcomer(collector, "later", BindAddress="127.0.0.31")
    for text in (revoked, used):
        assert installed(second, text, INSTALLERS["10.5p1"]) != 0
    assert not known_as(second)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (b"", "1 to 8 public keys"),
        (b'command="sh" ssh-ed25519 AAAA\n', ""),
        (b"\xff\xfe\0" * 1000, ""),
        (b"ssh-rsa AAAAB3NzaC1yc2E\n" * 9, ""),
        (b"x" * (200 << 10), ""),
    ],
    ids=["nothing", "options", "bytes", "too many", "too much"],
)
def test_what_is_no_key_enrols_nobody_and_spends_no_use(
    collector: Receiver, token: Made, keys: bytes, reason: str
) -> None:
    """ssh-copy-id's status is 1, and the token still works."""
    machine = newcomer(collector, f"odd-{len(keys)}-{len(reason)}")
    text = token(machine.name)
    assert installed(machine, text, INSTALLERS["10.5p1"], keys) == 1
    assert installed(machine, text, INSTALLERS["10.5p1"]) == 0


FORBIDDEN = (
    "mkdir -p /var/crash",
    "mktemp -dqp /var/crash",
    "df -P /var/crash",
    "dd of=/var/crash/a/vmcore",
    "cat > /var/crash/a/vmcore",
    "echo fail > /var/crash/a/vmcore-creation.status",
    "mv /a/b /a/c",
    "scp -t /var/crash/a/vmcore",
    "scp -f /var/crash/a/vmcore-creation.status",
    "id",
    "cat .ssh/authorized_keys",
)


@pytest.mark.parametrize("command", FORBIDDEN)
def test_a_token_does_nothing_else_by_commands(collector: Receiver, token: Made, command: str) -> None:
    """Status 126 and a sentence; nothing comes into being."""
    machine = newcomer(collector, f"token-only-{FORBIDDEN.index(command)}")
    before = sorted(collector.root.iterdir())
    line = ("ssh", "-F", str(machine.config), "-o", "PubkeyAuthentication=no", machine.target, command)
    done = typed(machine.home, token(machine.name), *line, stdin=b"bytes")
    assert done.returncode == 126
    assert done.stderr.decode().splitlines()[-1].startswith("kdump-receiver: ")
    assert sorted(collector.root.iterdir()) == before
    assert not known_as(machine)


def test_a_token_does_nothing_else_by_sftp(collector: Receiver, token: Made, tmp_path: Path) -> None:
    """No upload, no directory that lasts, no listing, nothing read but an empty list of keys."""
    machine = newcomer(collector, "token-sftp")
    (tmp_path / "vmcore").write_bytes(b"text")
    before = sorted(collector.root.iterdir())
    for request in (
        f"put {tmp_path}/vmcore /var/crash/a/vmcore",
        f"put {tmp_path}/vmcore vmcore",
        "ls /",
        "rename .ssh/authorized_keys x",
        "rm .ssh/authorized_keys",
        "rmdir .ssh",
        "symlink x .ssh/authorized_keys",
        f"get /etc/passwd {tmp_path}/passwd",
    ):
        # a batch would turn passwords off, so the request is typed, too
        line = ("sftp", "-F", str(machine.config), "-o", "PubkeyAuthentication=no", machine.target)
        done = typed(machine.home, token(None), *line, stdin=(request + "\n").encode())
        assert any(word in done.stderr for word in (b"denied", b"Couldn't", b"not found")), (request, done)
        assert not (tmp_path / "passwd").exists()
    assert sorted(collector.root.iterdir()) == before
    assert not known_as(machine)


def test_a_password_in_a_url_s_user_is_not_logged(collector: Receiver, token: Made) -> None:
    """SUSE's `ssh://user:password@host`: ssh takes both for the user's name; no log shows the second."""
    machine = Machine.enrolled(collector, "suse-url")
    url = f"ssh://root:hunter2secret@collector:{collector.port}"
    done = subprocess.run(
        ["ssh", "-F", str(machine.config), url, "mkdir -p /var/crash"], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    stranger = newcomer(collector, "suse-stranger", BindAddress="127.0.0.40", BatchMode="yes")
    denied = subprocess.run(["ssh", "-F", str(stranger.config), url, "exit"], capture_output=True, timeout=60)
    assert denied.returncode == 255
    log = collector.log.read_text()
    assert "hunter2secret" not in log
    assert "user=root " in log
