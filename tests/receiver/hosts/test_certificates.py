"""OpenSSH user certificates, made by the real ssh-keygen."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.hosts.certificates import Authorities, AuthorityError, Shown, load
from receiver.hosts.certkeys import BadCertificate, decode_untrusted, is_certificate
from receiver.hosts.gate import judge
from receiver.hosts.identity import Denied
from receiver.hosts.keys import HostKeys
from receiver.hosts.public_key import parse_untrusted
from tests.builders.ssh_keys import blob, certify, fingerprint, keygen, public

PEER = "10.0.0.7"
Certify = Callable[..., bytes]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    for name, kind, bits in (
        ("ca", "ed25519", 0),
        ("rsa-ca", "rsa", 2048),
        ("other-ca", "ed25519", 0),
        ("ed25519", "ed25519", 0),
        ("rsa", "rsa", 2048),
        ("ecdsa", "ecdsa", 256),
        ("weak", "rsa", 1024),
    ):
        keygen(directory, name, kind, bits)
    return directory


@pytest.fixture(scope="module")
def authorities(directory: Path) -> Authorities:
    named = directory / "user_ca.pub"
    named.write_text(f"# ours\n{public(directory / 'ca')}\n{public(directory / 'rsa-ca')}")
    return load(named)


@pytest.fixture(scope="module")
def signed(directory: Path) -> Certify:
    def sign(*options: str, key: str = "ed25519", ca: str = "ca", principals: str | None = "web01") -> bytes:
        path = certify(directory / ca, directory / key, *options, principals=principals)
        return blob(path.read_text())

    return sign


@pytest.mark.parametrize("ca", ["ca", "rsa-ca"])
@pytest.mark.parametrize("key", ["ed25519", "rsa", "ecdsa"])
def test_the_one_principal_is_the_host(
    authorities: Authorities, signed: Certify, directory: Path, key: str, ca: str
) -> None:
    """A CA that the settings name vouches for a host; the key is the certificate's own."""
    shown = authorities.decide(signed("-z", "7", key=key, ca=ca), PEER, time.time())
    assert isinstance(shown, Shown)
    assert (shown.identity.name, shown.identity.host) == ("web01", "web01")
    assert (shown.identity.how, shown.identity.peer) == ("certificate", PEER)
    assert shown.key == parse_untrusted(public(directory / key))
    own, signer = fingerprint(directory / f"{key}.pub"), fingerprint(directory / f"{ca}.pub")
    assert shown.identity.detail == f"{own} serial 7 CA {signer}"


@pytest.mark.parametrize(
    ("options", "principals", "reason"),
    [
        ((), None, "it names no principal; one is wanted, the host's name (ssh-keygen -n NAME)"),
        ((), "web01,web02", "it names 2 principals"),
        ((), "web 01", "is no host name"),
        ((), "../web01", "is no host name"),
        (("-V", "20200101:20200102"), "web01", "expired 2020-01-0"),
        (("-V", "20900101:20900102"), "web01", "not valid before 20"),
        (("-O", "source-address=10.0.1.0/24"), "web01", "valid only from 10.0.1.0/24, not from 10.0.0.7"),
        (("-O", "force-command=/bin/true"), "web01", "it has a force-command"),
        (("-O", "critical:moon@example.org=full"), "web01", "the critical option 'moon@example.org'"),
        (("-h",), "web01", "a host's certificate"),
    ],
)
def test_a_certificate_that_does_not_fit_is_denied_with_its_reason(
    authorities: Authorities, signed: Certify, options: tuple[str, ...], principals: str | None, reason: str
) -> None:
    """A certificate that ran out is a lost dump, so the log says which one and why."""
    found = authorities.decide(signed(*options, principals=principals), PEER, time.time())
    assert isinstance(found, Denied)
    assert reason in found.reason


@pytest.mark.parametrize("places", ["10.0.0.7", "10.0.0.0/24,2001:db8::/64", "2001:db8::/64,10.0.0.7/32"])
def test_source_address_is_kept(authorities: Authorities, signed: Certify, places: str) -> None:
    """Lists of addresses and networks, as OpenSSH has them."""
    data = signed("-O", f"source-address={places}")
    assert isinstance(authorities.decide(data, PEER, time.time()), Shown)
    assert isinstance(authorities.decide(data, "10.9.9.9", time.time()), Denied)
    assert isinstance(authorities.decide(data, "unknown", time.time()), Denied)


def test_permissions_that_mean_nothing_here_do_not_matter(authorities: Authorities, signed: Certify) -> None:
    """ssh-keygen grants terminals and forwarding unless told otherwise."""
    for options in (("-O", "clear"), ("-O", "extension:moon@example.org=full"), ()):
        assert isinstance(authorities.decide(signed(*options), PEER, time.time()), Shown)


def test_dates_are_read_at_each_login(authorities: Authorities, signed: Certify) -> None:
    """Not valid before its first second, nor from its last on."""
    data = signed("-V", "20260101000000Z:20260102000000Z")
    first = decode_untrusted(data).valid_after
    last = decode_untrusted(data).valid_before
    assert last - first == 86400
    for now, valid in ((first - 1, False), (first, True), (last - 1, True), (last, False)):
        assert isinstance(authorities.decide(data, PEER, now), Shown) is valid


def test_another_ca_vouches_for_nobody(authorities: Authorities, signed: Certify, directory: Path) -> None:
    """However good its certificate is."""
    found = authorities.decide(signed(ca="other-ca"), PEER, time.time())
    signer = fingerprint(directory / "other-ca.pub")
    assert found == Denied(f"certificate 'an id': signed by {signer}, which `user_ca` does not name")


def test_a_weak_key_stays_weak_in_a_certificate(authorities: Authorities, signed: Certify) -> None:
    """The same rule as for plain keys."""
    found = authorities.decide(signed(key="weak"), PEER, time.time())
    assert isinstance(found, Denied)
    assert "1024 bits" in found.reason


def test_sha1_of_an_old_ca_is_taken_only_with_legacy_algorithms(signed: Certify, directory: Path) -> None:
    """ssh-keygen signed with SHA-1 before OpenSSH 8.2."""
    named = directory / "rsa-ca.pub"
    old = signed("-t", "ssh-rsa", ca="rsa-ca")
    new = signed("-t", "rsa-sha2-512", ca="rsa-ca")
    assert isinstance(load(named, sha1=True).decide(old, PEER, time.time()), Shown)
    assert "signed with SHA-1" in str(load(named, sha1=False).decide(old, PEER, time.time()))
    assert isinstance(load(named, sha1=False).decide(new, PEER, time.time()), Shown)


def test_no_changed_byte_gets_in(authorities: Authorities, signed: Certify) -> None:
    """The CA's signature covers all of it; and whatever a changed byte does, it is denied."""
    data = signed()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]
        assert isinstance(authorities.decide(changed, PEER, time.time()), Denied)
        assert isinstance(authorities.decide(data[:at], PEER, time.time()), Denied)
    assert isinstance(authorities.decide(data + b"\0", PEER, time.time()), Denied)


@given(st.binary(max_size=400))
def test_garbage_is_denied_and_raises_nothing(authorities: Authorities, data: bytes) -> None:
    """Anybody may show a certificate before logging in."""
    for name in (b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ssh-moon"):
        kind = name + b"-cert-v01@openssh.com"
        framed = len(kind).to_bytes(4, "big") + kind + data
        assert is_certificate(framed)
        assert isinstance(authorities.decide(framed, PEER, 0.0), Denied)
        with pytest.raises(BadCertificate):
            decode_untrusted(framed)


def test_the_decoder_reads_what_ssh_keygen_shows(signed: Certify, directory: Path) -> None:
    """Every field beside `ssh-keygen -L`."""
    data = signed("-z", "42", "-V", "20260101000000Z:20260102000000Z", key="rsa", principals="a,b")
    certificate = decode_untrusted(data)
    path = str(directory / "rsa-cert.pub")
    command = ["ssh-keygen", "-L", "-f", path]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "ssh-rsa-cert-v01@openssh.com user certificate" in shown
    assert f"RSA-CERT {certificate.key.fingerprint}" in shown
    assert f"ED25519 {certificate.signer.fingerprint}" in shown
    assert f'Key ID: "{certificate.key_id}"' in shown
    assert f"Serial: {certificate.serial}" in shown
    assert certificate.principals == ("a", "b")
    assert certificate.signature_algorithm == "ssh-ed25519"


def test_plain_keys_and_certificates_come_in_by_one_gate(
    authorities: Authorities, signed: Certify, directory: Path, tmp_path: Path
) -> None:
    """What the door asks: whose is what the client showed?"""
    hosts = HostKeys(tmp_path)
    hosts.add("db01", public(directory / "ed25519"))
    plain, certificate = blob(public(directory / "ed25519")), signed()
    now = time.time()
    for data, name in ((plain, "db01"), (certificate, "web01")):
        shown = judge(data, PEER, now, hosts, authorities)
        assert isinstance(shown, Shown)
        assert shown.identity.name == name
        assert shown.key.blob == plain
    hosts.blocks.add("web01", "stolen")
    assert "web01 is blocked since" in str(judge(certificate, PEER, now, hosts, authorities))
    assert "no `user_ca`" in str(judge(certificate, PEER, now, hosts, None))
    assert isinstance(judge(blob(public(directory / "rsa")), PEER, now, hosts, authorities), Denied)
    assert isinstance(judge(b"", PEER, now, hosts, authorities), Denied)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no key in it"),
        ("# nothing\n", "there is no key in it"),
        ("\n\nhello\n", "user_ca:3: not a public key"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\n",
            "that is a PRIVATE key; `user_ca` names the CA's .pub file",
        ),
    ],
)
def test_a_ca_file_that_is_none_stops_the_start(tmp_path: Path, text: str, reason: str) -> None:
    """File, line and reason; exit status 78."""
    path = tmp_path / "user_ca"
    path.write_text(text)
    with pytest.raises(AuthorityError) as caught:
        load(path)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_ca_file_that_is_missing_or_weak_stops_the_start(tmp_path: Path, directory: Path) -> None:
    """A CA's key is worth every host's."""
    with pytest.raises(AuthorityError, match="No such file or directory; see `user_ca`"):
        load(tmp_path / "none")
    with pytest.raises(AuthorityError, match=r"weak.pub:1: an RSA key of 1024 bits"):
        load(directory / "weak.pub")
