"""OpenSSH user certificates: a CA named in the settings vouches for a host.

The certificate's one principal is the host's name. The user name that a client logs in with
says nothing: it is what kdump.conf happens to hold.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh

from receiver.failure import Failure
from receiver.hosts.addresses import BadAddress, check_address, comes_from
from receiver.hosts.certkeys import (
    USER,
    BadCertificate,
    Certificate,
    armored,
    decode_untrusted,
    option_text,
)
from receiver.hosts.identity import BadName, Denied, Identity, check_host_name
from receiver.hosts.public_key import (
    KeyRefused,
    PublicKey,
    check_strength,
    parse_line_untrusted,
    printable,
)

AUTHORITIES_MAX: Final = 64
FILE_MAX: Final = 1 << 20  # bytes


class AuthorityError(Failure):
    """The file of CA keys cannot be used."""

    exit_code = 78  # EX_CONFIG


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client showed is believed to be this host's, once it proves that it has `key`."""

    key: PublicKey
    identity: Identity


class Authorities:
    """The CA keys that may vouch for hosts."""

    def __init__(self, keys: Sequence[PublicKey], *, sha1: bool = True) -> None:
        """`sha1`: take what an RSA CA signed with SHA-1, as ssh-keygen did before OpenSSH 8.2."""
        self.fingerprints = frozenset(key.fingerprint for key in keys)
        self._sha1 = sha1

    def decide(self, blob: bytes, peer: str, now: float) -> Shown | Denied:
        """Whose certificate `blob` is, if it may come in from `peer` at `now` (seconds since 1970).

        That the client has the certificate's key is the caller's to prove.
        """
        try:
            certificate = decode_untrusted(blob)
            reason = self._objection(certificate, peer, now)
            if reason is None:
                # asyncssh verifies the CA's signature while it reads.
                asyncssh.import_certificate(armored(blob))
        except (BadCertificate, asyncssh.KeyImportError) as error:
            return Denied(f"a bad certificate: {error}")
        if reason is not None:
            return Denied(f"certificate {printable(certificate.key_id, 100)!r}: {reason}")
        try:
            host = check_host_name(certificate.principals[0])
        except BadName as error:
            return Denied(f"the certificate's principal: {error}")
        detail = (
            f"{certificate.key.fingerprint} serial {certificate.serial} CA {certificate.signer.fingerprint}"
        )
        return Shown(certificate.key, Identity(host, host, "certificate", peer, detail))

    def _objection(self, certificate: Certificate, peer: str, now: float) -> str | None:
        if certificate.signer.fingerprint not in self.fingerprints:
            return f"signed by {certificate.signer.fingerprint}, which `user_ca` does not name"
        if certificate.kind != USER:
            return "a host's certificate; a client shows a user's (ssh-keygen -s CA without -h)"
        if not self._sha1 and certificate.signature_algorithm == "ssh-rsa":
            return "signed with SHA-1; sign it anew with: ssh-keygen -t rsa-sha2-512 -s CA"
        try:
            check_strength(certificate.key)
        except KeyRefused as refused:
            return str(refused)
        return _outside(certificate, now) or _principals(certificate) or _critical(certificate, peer)


def _outside(certificate: Certificate, now: float) -> str | None:
    if now < certificate.valid_after:
        return f"not valid before {_stamp(certificate.valid_after)}; look at both clocks"
    if now >= certificate.valid_before:
        return f"expired {_stamp(certificate.valid_before)}"
    return None


def _principals(certificate: Certificate) -> str | None:
    match len(certificate.principals):
        case 0:
            # For sshd, none means any user: a certificate that would be every host.
            return "it names no principal; one is wanted, the host's name (ssh-keygen -n NAME)"
        case 1:
            return None
        case many:
            return f"it names {many} principals; one is wanted, the host's name (ssh-keygen -n NAME)"


def _critical(certificate: Certificate, peer: str) -> str | None:
    for name, value in certificate.critical.items():
        match name:
            case "source-address":
                text = option_text(value)
                try:
                    places = [check_address(place) for place in text.split(",")]
                except BadAddress as error:
                    return f"its source-address: {error}"
                if not comes_from(peer, places):
                    return f"valid only from {printable(text, 200)}, not from {peer}"
            case "force-command":
                # The CA meant it for that one command; whatever we did would be another.
                return "it has a force-command, and no command is run here; sign it without"
            case _:
                return f"it has the critical option {printable(name, 60)!r}, which is not known here"
    return None


def _stamp(seconds: int) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"@{seconds}"


def load(path: Path, *, sha1: bool = True) -> Authorities:
    """The CA keys of a file, one a line, as ``TrustedUserCAKeys`` of sshd has them.

    Raises:
        AuthorityError: unreadable, no key, or something else than public keys.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_MAX).decode()
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}; see `user_ca` in the settings") from None
    except UnicodeDecodeError:
        raise AuthorityError(f"{path}: not a text file; `user_ca` names a list of public keys") from None
    if "PRIVATE KEY" in text:
        raise AuthorityError(f"{path}: that is a PRIVATE key; `user_ca` names the CA's .pub file")
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            keys.append(check_strength(parse_line_untrusted(line.strip())))
        except KeyRefused as refused:
            raise AuthorityError(f"{path}:{number}: {refused}") from None
    if not keys:
        raise AuthorityError(f"{path}: there is no key in it; see `user_ca` in the settings")
    if len(keys) > AUTHORITIES_MAX:
        raise AuthorityError(f"{path}: {len(keys)} keys; {AUTHORITIES_MAX} CAs are the most")
    return Authorities(keys, sha1=sha1)
