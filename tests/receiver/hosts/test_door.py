"""Who comes in, asked of a real server by the system's own ssh."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from receiver.hosts.limits import FREE
from tests.builders.ssh_keys import blob, certify, fingerprint, keygen, public
from tests.rig.receiver import SECONDS, Client, Receiver, environment, have

DENIED = 255  # ssh's own exit status


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("door")
    keygen(directory, "ca")
    return directory


@pytest.fixture(scope="module")
def receiver(directory: Path) -> Iterator[Receiver]:
    with Receiver(directory, settings=f'user_ca = "{directory}/ca.pub"') as receiver:
        yield receiver


@pytest.fixture
def stranger(receiver: Receiver, tmp_path: Path) -> Client:
    """A host with a key that nobody knows."""
    return Client(receiver, tmp_path, keygen(tmp_path, "key"))


def certificate_of(client: Client) -> bytes:
    return blob(Path(f"{client.key}-cert.pub").read_text())


def certified(client: Client, *options: str, kind: str = "ed25519", principal: str = "web01") -> Client:
    """The host with a certificate of the CA, which ssh finds beside its key."""
    key = keygen(client.home, f"{kind}-certified", kind)
    certify(client.receiver.directory / "ca", key, *options, principals=principal)
    return Client(client.receiver, client.home, key)


def news(receiver: Receiver, start: int) -> str:
    return receiver.log.read_text()[start:]


def mark(receiver: Receiver) -> int:
    return len(receiver.log.read_text())


def name_at_the_door(client: Client) -> str:
    """The name space that the server gives the client: it is in the line of each command."""
    start = mark(client.receiver)
    client.ssh("mkdir -p /var/crash")
    (line,) = (line for line in news(client.receiver, start).splitlines() if "command.done" in line)
    return line.partition(" host=")[2].split()[0]


@pytest.mark.parametrize("user", ["kdump", "root", "web02", "user:password"])
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_certificate_names_the_host_whatever_the_user_name(stranger: Client, kind: str, user: str) -> None:
    """kdump.conf holds some user name; sshd would want the principal to be it."""
    client = certified(stranger, kind=kind)
    client.user = user
    assert name_at_the_door(client) == "web01"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-O", "source-address=10.9.9.9/32"), "valid only from 10.9.9.9/32, not from 127.0.0.1"),
        (("-V", "20200101:20200102"), "expired 2020-01-0"),
        (("-O", "force-command=/bin/true"), "it has a force-command"),
    ],
)
def test_a_certificate_that_does_not_fit_is_denied_and_the_log_says_why(
    stranger: Client, options: tuple[str, ...], reason: str
) -> None:
    """The client is told nothing; the operator everything."""
    start = mark(stranger.receiver)
    done = certified(stranger, *options).ssh("mkdir -p /var/crash", check=False)
    assert done.returncode == DENIED
    assert b"Permission denied" in done.stderr
    assert "certificate" not in done.stderr.decode()
    assert reason in news(stranger.receiver, start)


def test_source_address_that_fits_is_let_in(stranger: Client) -> None:
    """The address on the wire is what counts."""
    assert name_at_the_door(certified(stranger, "-O", "source-address=127.0.0.0/8")) == "web01"


def test_keys_bound_to_addresses_and_shared_keys(receiver: Receiver, tmp_path: Path) -> None:
    """By key, through the real door."""
    here = Client.enrolled(receiver, "here", "rsa", "--address", "127.0.0.1")
    assert name_at_the_door(here) == "here"
    fleet = Client.enrolled(receiver, "fleet", "ecdsa", "--shared")
    assert name_at_the_door(fleet) == "fleet@127.0.0.1"
    elsewhere = Client.enrolled(receiver, "elsewhere", "ed25519", "--address", "10.0.0.0/8")
    start = mark(receiver)
    assert elsewhere.ssh("exit", check=False).returncode == DENIED
    assert "may not come from 127.0.0.1" in news(receiver, start)


def test_a_removed_host_is_out_at_its_next_login(receiver: Receiver) -> None:
    """Without a restart."""
    client = Client.enrolled(receiver, "leaving")
    assert name_at_the_door(client) == "leaving"
    receiver.cli("host", "remove", "leaving")
    assert client.ssh("exit", check=False).returncode == DENIED


@pytest.mark.skipif(have("sshpass") is None, reason="sshpass types the password")
def test_ssh_copy_id_enrols_with_a_token_and_can_do_nothing_else(
    receiver: Receiver, stranger: Client
) -> None:
    """What every `propagate` does, with the unmodified ssh-copy-id."""
    (stranger.home / ".ssh").mkdir(mode=0o700)
    token = receiver.cli("token", "create", "--host", "newcomer").stdout.splitlines()[0]
    known = [
        "-o",
        f"UserKnownHostsFile={stranger.home}/known_hosts",
        "-o",
        "StrictHostKeyChecking=accept-new",
    ]
    password = ["sshpass", "-p", token]
    port = ["-p", str(receiver.port)]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*password, *command],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=environment(stranger),
            stdin=subprocess.DEVNULL,
        )

    refused = run("ssh", "-F", "none", *known, *port, stranger.target, "mkdir -p /var/crash")
    assert refused.returncode == 126
    assert "a token only enrols a key" in refused.stderr
    assert stranger.ssh("exit", check=False).returncode == DENIED, "a refused command enrols nothing"
    done = run("ssh-copy-id", "-i", f"{stranger.key}.pub", *known, *port, stranger.target)
    assert done.returncode == 0, done.stderr
    assert "Number of key(s) added: 1" in done.stdout
    assert name_at_the_door(stranger) == "newcomer"
    start = mark(receiver)
    again = run("ssh", "-F", "none", *known, *port, stranger.target, "exit")
    assert again.returncode != 0
    assert "has no uses left" in news(receiver, start)


async def connect(
    receiver: Receiver, keys: object = None, password: str | None = None
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        receiver.port,
        username="kdump",
        known_hosts=None,
        client_keys=keys,
        password=password,
        agent_path=None,
        config=None,
        login_timeout=SECONDS,
    )


def pretending(own: Path, victim: Path) -> asyncssh.SSHKeyPair:
    """Our key pair that shows the victim's public key: its signatures do not fit."""
    (pair,) = asyncssh.load_keypairs([str(own)])
    pair.public_data = blob(public(victim))
    return pair


async def test_a_public_key_without_its_private_half_is_nobody(receiver: Receiver, tmp_path: Path) -> None:
    """Public keys are public, and being asked about one makes nobody its host."""
    victim, own = Client.enrolled(receiver, "victim"), Client.enrolled(receiver, "own")
    start = mark(receiver)
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(receiver, [pretending(own.key, victim.key)])
    async with await connect(receiver, [pretending(own.key, victim.key), str(own.key)]) as connection:
        await connection.run("mkdir -p /var/crash", check=True)
    assert "command.done host=own" in news(receiver, start)
    assert "host=victim" not in news(receiver, start)


async def test_a_certificate_without_its_private_half_is_nobody(receiver: Receiver, stranger: Client) -> None:
    """Certificates are public, too."""
    client = certified(stranger)
    (pair,) = asyncssh.load_keypairs([str(stranger.key)])
    pair.public_data = certificate_of(client)
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(receiver, [pair])


async def test_garbage_for_a_key_is_a_key_that_nobody_has(receiver: Receiver, stranger: Client) -> None:
    """RSA numbers that no RSA key has: refused like any other key, no traceback in the log."""
    start = mark(receiver)
    for data in (b"", b"\0\0\0\x07ssh-rsa" + b"\0\0\0\x01\x02" * 2, b"\0\0\0\x0bssh-ed25519\0\0\0\x01x"):
        (pair,) = asyncssh.load_keypairs([str(stranger.key)])
        pair.public_data = data
        with pytest.raises(asyncssh.PermissionDenied):
            await connect(receiver, [pair])
    said = news(receiver, start)
    assert said.count("login.refused") == 3
    assert "Traceback" not in said


async def test_guessing_tokens_gets_slow(directory: Path) -> None:
    """Beyond the free tries each one waits, and the log says it."""
    home = directory / "guessed"
    home.mkdir()
    with Receiver(home) as receiver:
        for _ in range(FREE + 1):
            with pytest.raises(asyncssh.PermissionDenied):
                await connect(receiver, password="kdump-222222-22222-22222-22222-22222")
        said = receiver.log.read_text()
        assert said.count("it is no token") == FREE
        assert "too many wrong passwords" in said


def test_a_changed_ca_is_logged_at_the_next_start(directory: Path) -> None:
    """With both fingerprints, as ssh-keygen -l shows them."""
    home = directory / "changing"
    home.mkdir()
    ca = keygen(home, "ca")
    with Receiver(home, settings=f'user_ca = "{ca}.pub"') as receiver:
        before = fingerprint(ca)
        assert "hostkey.changed" not in receiver.log.read_text()
    for path in (ca, Path(f"{ca}.pub")):
        path.unlink()
    keygen(home, "ca")
    with receiver:
        assert f'what="user CA" before={before} now={fingerprint(ca)}' in receiver.log.read_text()
