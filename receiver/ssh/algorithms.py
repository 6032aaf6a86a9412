"""Which algorithms the door speaks.

The client's order wins in SSH, so the list that is offered decides. chacha20-poly1305, which
is first in OpenSSH's own list and slow here, is left out: RHEL since 8 and OpenSSH since 10 then
end on AES-GCM. OpenSSH 6.2 to 9.9 knows AES-GCM and names AES-CTR before it: such a client is heard
before anything is offered, and is offered AES-GCM alone if it takes it. AES-CTR goes asyncssh's own,
slower way.
The legacy lists are those of OpenSSH 4.3p2 (EL5) and 5.3p1 (EL6), myproposal.h.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asyncssh.packet import SSHPacket


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
_GCM: Final = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
_ENCRYPTION: Final = (
    *_GCM,
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

_OPENSSH: Final = re.compile(rb"SSH-2\.0-OpenSSH_(\d{1,3})\.(\d{1,3})")


def names_ctr_first(version: bytes) -> bool:
    """Whether a client with this version line knows AES-GCM (OpenSSH 6.2) and names it late (until 10.0)."""
    found = _OPENSSH.match(version)
    return found is not None and (6, 2) <= (int(found[1]), int(found[2])) < (10, 0)


def offered(ours: Sequence[bytes], client: Sequence[bytes]) -> list[bytes]:
    """The ciphers to offer a client that has named its own: AES-GCM alone, if that is among them."""
    gcm = [name for name in ours if name.decode() in _GCM]
    return gcm if set(gcm) & set(client) else list(ours)


def ciphers(kexinit: bytes) -> list[bytes]:
    """The client's ciphers in its SSH_MSG_KEXINIT (RFC 4253, 7.1). Raises asyncssh's PacketDecodeError."""
    packet = SSHPacket(kexinit)
    packet.get_bytes(1 + 16)  # message number, cookie
    for _ in ("key exchange", "host keys"):
        packet.get_namelist()
    return list(packet.get_namelist())
