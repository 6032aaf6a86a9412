"""Which algorithms the door speaks.

The client's order wins in SSH, so the list that is offered decides. chacha20-poly1305, which
is first in OpenSSH's own list and slow here, is left out: RHEL since 8 and OpenSSH since 10 then
end on AES-GCM, older ones on AES-CTR (they name it before GCM), a tenth slower.
The legacy lists are those of OpenSSH 4.3p2 (EL5) and 5.3p1 (EL6), myproposal.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Algorithms:
    """Names as SSH knows them, best first."""

    kex: tuple[str, ...]
    encryption: tuple[str, ...]
    mac: tuple[str, ...]
    sha1_signatures: bool  # `ssh-rsa`: RSA with SHA-1, of host and user keys


_KEX: Final = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group-exchange-sha256",
)
_ENCRYPTION: Final = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
_MAC: Final = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)

MODERN: Final = Algorithms(_KEX, _ENCRYPTION, _MAC, sha1_signatures=False)
LEGACY: Final = Algorithms(
    (*_KEX, "diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1"),
    _ENCRYPTION,
    (*_MAC, "hmac-sha1"),
    sha1_signatures=True,
)
