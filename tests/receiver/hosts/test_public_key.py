"""Public keys that people and clients hand in."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.hosts.public_key import (
    KeyRefused,
    check_strength,
    decode_untrusted,
    parse_line_untrusted,
    parse_untrusted,
)
from tests.builders.ssh_keys import blob, certify, fingerprint, keygen, public
from tests.receiver.hosts.conftest import Keys

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhLiQkvt34ocL3EKcI6cIGE6h3QWk2I1O2AWSpXUKFy"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa", "weak"])
def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(keys: Keys, kind: str) -> None:
    """An operator compares the two by eye."""
    path = keys.directory / f"{kind}.pub"
    key = parse_untrusted(path.read_text())
    assert key.fingerprint == fingerprint(path)
    assert key.blob == blob(path.read_text())


def test_comments_and_blank_lines_around_a_key_do_not_matter() -> None:
    """Files come with headings."""
    key = parse_untrusted(f"# web01\n\n  {LINE} root@web01 the first\n")
    assert key.comment == "root@web01 the first"
    assert key.line == LINE


def test_a_comment_cannot_move_the_terminal() -> None:
    """Comments are the client's to choose, and lists show them."""
    assert parse_line_untrusted(f"{LINE} a\x1b[2Jb\x07").comment == "a[2Jb"


def test_weak_rsa_is_refused_unless_asked_for(keys: Keys) -> None:
    """EL5's first keys had 1024 bits: the operator may take them, a token may not."""
    key = parse_untrusted(keys.weak_rsa)
    with pytest.raises(KeyRefused, match="an RSA key of 1024 bits is too weak, 2048 are the least"):
        check_strength(key)
    assert check_strength(key, weak_rsa=True) is key
    assert check_strength(parse_untrusted(keys.rsa)).bits == 2048


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no public key"),
        ("# nothing\n", "there is no public key"),
        ("hello", "not a public key: 'hello'"),
        ("<html><body>404</body></html>", "not a public key"),
        (f"{LINE}\n{LINE}", "one public key is wanted, there are 2 lines"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n", "PRIVATE key: keep it secret"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", "PRIVATE key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "PRIVATE key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "RFC 4716; convert it with: ssh-keygen -i"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB\n", "PEM; convert it with: ssh-keygen -i -m PKCS8"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n", "X.509"),
        (f"1024 35 {'9' * 300} root@old", "SSH protocol 1"),
        (f'command="rm -rf /" {LINE}', "options before a key are not taken: 'command=\"rm -rf /\"'"),
        (f'from="10.0.0.7",no-pty {LINE}', "addresses are given with `host add --address`"),
        (f"ssh-rsa {LINE.split()[1]}", "the line says ssh-rsa, the key inside is ssh-ed25519"),
        (LINE[:-9], "cut or garbled"),
        (LINE[:-1], "cut or garbled"),
        ("ssh-rsa " + "A" * 20_000, "a line of 20008 characters"),
    ],
)
def test_what_is_no_public_key_is_named(text: str, reason: str) -> None:
    """The commonest mistake is the private half; its content is never repeated."""
    with pytest.raises(KeyRefused) as caught:
        parse_untrusted(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"ssh-dss", "DSA keys are too weak"),
        (b"sk-ssh-ed25519@openssh.com", "a security key wants a finger"),
        (b"ssh-ed25519-cert-v01@openssh.com", "that is a certificate"),
        (b"ssh-quantum", "keys of type 'ssh-quantum' are not taken"),
    ],
)
def test_kinds_of_keys_that_are_not_taken(name: bytes, reason: str) -> None:
    """The reason says what would be."""
    with pytest.raises(KeyRefused, match=reason):
        decode_untrusted(len(name).to_bytes(4, "big") + name + bytes(40))


def test_a_certificate_file_is_told_from_a_key(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`ssh-copy-id -i key-cert.pub` happens."""
    directory = tmp_path_factory.mktemp("ca")
    ca, key = keygen(directory, "ca"), keygen(directory, "key")
    certificate = certify(ca, key)
    with pytest.raises(KeyRefused, match="that is a certificate"):
        parse_untrusted(certificate.read_text())


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_raises_nothing_else(data: bytes) -> None:
    """Anybody may send a key before logging in."""
    for name in (b"", b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-nistp256"):
        framed = len(name).to_bytes(4, "big") + name + data
        with contextlib.suppress(KeyRefused):
            decode_untrusted(framed)


@given(st.text(max_size=300), st.sampled_from(["", "ssh-rsa AAAA", LINE, f"x {LINE}"]))
def test_garbage_lines_are_refused_and_raise_nothing_else(text: str, start: str) -> None:
    """A client's standard input is anything."""
    with contextlib.suppress(KeyRefused):
        parse_untrusted(start + text)


def test_no_cut_or_changed_byte_of_a_key_gets_through_as_another_error(keys: Keys) -> None:
    """RSA numbers that no RSA key has, points beside the curve: refused like the rest."""
    for line in (keys.rsa, keys.ecdsa, keys.ed25519):
        whole = blob(line)
        for at in range(len(whole)):
            for changed in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x81]) + whole[at + 1 :]):
                with contextlib.suppress(KeyRefused):
                    decode_untrusted(changed)


def test_the_public_half_of_a_private_key_is_not_read_in_its_place(keys: Keys) -> None:
    """A private key that was given by mistake is said to be one, wherever it lies in the file."""
    with pytest.raises(KeyRefused, match="PRIVATE"):
        parse_untrusted(f"{public(keys.directory / 'ed25519')}\n{(keys.directory / 'ed25519').read_text()}")
