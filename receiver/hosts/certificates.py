"""OpenSSH user certificates: a CA named in the settings vouches for a host.

The certificate's one principal is the host's name. The user name that the client logs
in with says nothing: kdump's clients put there whatever kdump.conf holds.
Source of the format: OpenSSH 9.2, PROTOCOL.certkeys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate

from receiver.failure import Failure
from receiver.hosts.identity import BadName, Denied, Identity, check_host_name


class AuthorityError(Failure):
    """The file of CA keys cannot be used."""

    exit_code = 78  # EX_CONFIG


class Authorities:
    """The CA keys that may vouch for hosts."""

    def __init__(self, keys: Sequence[asyncssh.SSHKey]) -> None:
        self.fingerprints = {key.get_fingerprint() for key in keys}

    def validate(
        self, key: asyncssh.SSHKey, _host: str, _address: str, principals: Any = None, ca: bool = False
    ) -> dict[str, object] | None:
        """asyncssh's question of its `authorized_client_keys`: what options has this key?

        An answer with `principals` keeps asyncssh from comparing them with the user name.
        """
        if ca and key.get_fingerprint() in self.fingerprints:
            return {"principals": list(principals or ())}
        return None

    def decide(self, certificate: SSHOpenSSHCertificate, peer: str) -> Identity | Denied:
        """Whose certificate it is. asyncssh has checked signature, type, dates and source-address."""
        signer = certificate.signing_key.get_fingerprint()
        if signer not in self.fingerprints:
            return Denied(f"the certificate is signed by {signer}, which user_ca does not name")
        if certificate.options.get("force-command"):
            return Denied("the certificate has a force-command, which means nothing here")
        principals = list(certificate.principals)
        if len(principals) != 1:
            return Denied(
                f"the certificate names {len(principals)} principals; one, the host's name, is wanted"
            )
        try:
            host = check_host_name(principals[0])
        except BadName as error:
            return Denied(f"the certificate's principal: {error}")
        detail = f"{certificate.key.get_fingerprint()} signed by {signer}"
        return Identity(name=host, host=host, how="certificate", peer=peer, detail=detail)


def load(path: Path) -> Authorities:
    """The CA keys of a file, one a line, as ``TrustedUserCAKeys`` of sshd has them.

    Raises:
        AuthorityError: unreadable, or not public keys.
    """
    try:
        keys = asyncssh.read_public_key_list(path)
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}; see `user_ca` in the settings") from None
    except (asyncssh.KeyImportError, ValueError) as error:
        raise AuthorityError(f"{path}: not a list of public keys: {error}") from None
    if not keys:
        raise AuthorityError(f"{path}: there is no key in it; see `user_ca` in the settings")
    return Authorities(keys)
