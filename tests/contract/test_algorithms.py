"""What old clients need is there while the settings say so; new clients end on the fast cipher.

The system's ssh is held to the lists of others with -o; `ssh -v` tells what was agreed on.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.rig.machine import EL5, EL6, Machine
from tests.rig.receiver import Receiver

Host = Callable[..., Machine]

# crypto-policies DEFAULT of RHEL9, openssh.config; RHEL8's has the same order
RHEL9 = {
    "Ciphers": "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,"
    "aes128-gcm@openssh.com,aes128-ctr",
    "MACs": "hmac-sha2-256-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-128-etm@openssh.com,"
    "hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha1,umac-128@openssh.com,hmac-sha2-512",
    "KexAlgorithms": "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
    "ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha256,"
    "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512",
    "PubkeyAcceptedAlgorithms": "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,ssh-ed25519,"
    "rsa-sha2-256,rsa-sha2-512",
}
OLD = {
    "EL5": EL5,
    "EL6": EL6,
    "EL6 after gex": EL6 | {"KexAlgorithms": "diffie-hellman-group14-sha1"},
    "EL5 after gex": EL5 | {"Ciphers": "aes256-ctr", "KexAlgorithms": "diffie-hellman-group-exchange-sha1"},
}


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A server whose operator has no old clients left."""
    settings = "legacy_algorithms = false"
    with Receiver(tmp_path_factory.mktemp("modern"), settings=settings) as receiver:
        yield receiver


def agreed(machine: Machine) -> dict[str, str]:
    """What `ssh -v` says of the key exchange of one good command."""
    done = machine.sh("ssh -v $T exit")
    found = re.findall(
        r"kex: (algorithm|host key algorithm|client->server cipher): (\S+)(?: MAC: (\S+))?", done.stderr
    )
    said = {name: value for name, value, _ in found}
    return said | {"MAC": found[-1][2]}


@pytest.mark.parametrize("lists", OLD)
def test_old_clients_are_let_in(host: Host, lists: str) -> None:
    """OpenSSH 4.3 and 5.3: SHA-1 in the exchange, the host key, the MAC and the user's signature."""
    options = OLD[lists]
    said = agreed(host("old", "rsa", options))
    assert said["algorithm"] in options["KexAlgorithms"].split(",")
    assert said["host key algorithm"] == "ssh-rsa"
    assert said["MAC"] == "hmac-sha1"
    assert said["client->server cipher"].endswith("-ctr")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("KexAlgorithms", "diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1"),
        ("HostKeyAlgorithms", "ssh-rsa"),
        ("MACs", "hmac-sha1"),
        ("PubkeyAcceptedAlgorithms", "ssh-rsa"),
    ],
)
def test_old_algorithms_are_refused_where_the_settings_say_so(
    modern: Receiver, option: str, value: str
) -> None:
    """legacy_algorithms = false: each of the four alone shuts an old client out, before anything is sent."""
    # Only ciphers without a MAC of their own let the MAC decide.
    options = {option: value} | ({"Ciphers": "aes128-ctr"} if option == "MACs" else {})
    machine = Machine.enrolled(modern, f"old-{option}", "rsa", options)
    done = machine.ssh("mkdir -p /var/crash")
    assert done.returncode == 255
    expected = b"Permission denied" if option == "PubkeyAcceptedAlgorithms" else b"no matching"
    assert expected in done.stderr


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "ecdsa"])
def test_new_clients_need_nothing_old(modern: Receiver, kind: str) -> None:
    """With any kind of key, an RSA one by SHA-2."""
    said = agreed(Machine.enrolled(modern, f"new-{kind}", kind))
    assert "sha1" not in " ".join(said.values())


def test_an_rsa_host_key_serves_new_clients_too(modern: Receiver) -> None:
    """A known_hosts with the RSA key alone: the client asks for it by SHA-2."""
    options = {"HostKeyAlgorithms": "rsa-sha2-512,rsa-sha2-256"}
    said = agreed(Machine.enrolled(modern, "pinned-rsa", options=options))
    assert said["host key algorithm"] == "rsa-sha2-512"


def test_rhel_ends_on_aes_gcm(host: Host) -> None:
    """Its policy names GCM first; chacha20, which is slower here and comes second, is not offered."""
    assert agreed(host("rhel9", options=RHEL9))["client->server cipher"] == "aes256-gcm@openssh.com"


def test_no_client_ends_on_chacha20(host: Host) -> None:
    """It is first in OpenSSH's own list."""
    assert agreed(host("stock"))["client->server cipher"].startswith("aes")
    alone = host("chacha", options={"Ciphers": "chacha20-poly1305@openssh.com"})
    done = alone.ssh("exit")
    assert done.returncode == 255
    assert b"no matching cipher" in done.stderr


def test_the_banner_sends_no_client_astray(host: Host) -> None:
    """ssh-copy-id takes another way for `dropbear*` and `NetScreen*`; ssh has work-arounds for many names."""
    done = host("banner").sh("ssh -v $T exit")
    assert re.search(r"compat_banner: no match: kdump-receiver", done.stderr)


def test_a_compressed_connection_is_not_offered(host: Host) -> None:
    """Dumps are compressed pages: `Compression yes` in an ssh_config costs nothing."""
    done = host("zlib", options={"Compression": "yes"}).sh("ssh -v $T exit")
    assert re.search(r"client->server cipher: \S+ MAC: \S+ compression: none", done.stderr)


def test_a_password_alone_is_asked_for_by_its_plain_method(modern: Receiver) -> None:
    """SSH_ASKPASS of SUSE and a human at `propagate` answer `password`; nothing else but keys is offered."""
    machine = Machine.stranger(modern, "methods")
    done = machine.sh("ssh -v -o PreferredAuthentications=none $T exit", check=False)
    assert "Authentications that can continue: publickey,password\n" in done.stderr.replace("\r", "")
    assert done.returncode == 255


def test_the_keys_are_those_of_the_state_directory(modern: Receiver) -> None:
    """ssh-keyscan shows what the operator can compare: one RSA and one ed25519 key."""
    line = ["ssh-keyscan", "-p", str(modern.port), "127.0.0.1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    scanned = {tuple(line.split()[1:]) for line in done.stdout.splitlines() if not line.startswith("#")}
    publics = (modern.root / ".state").glob("ssh_host_*_key.pub")
    assert scanned == {tuple(public.read_text().split()[:2]) for public in publics}
