"""OpenSSH certificates, decoded. Sans-IO; nothing is verified here.

Source: OpenSSH 9.2, PROTOCOL.certkeys. asyncssh decodes them, too, but keeps dates and type to
itself and gives one answer, "invalid", for everything; an operator whose certificate ran out
has to read that in the log.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from receiver.hosts.public_key import CERTIFICATE_SUFFIX, KeyRefused, PublicKey, algorithm_of
from receiver.hosts.public_key import decode_untrusted as decode_key

USER: Final = 1  # SSH_CERT_TYPE_USER
FOREVER: Final = 2**64 - 1
# Strings that are the key's own, between the nonce and the serial number.
_KEY_STRINGS: Final = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
}


class BadCertificate(Exception):
    """No certificate that is understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What its CA wrote. Times are seconds since 1970."""

    key: PublicKey
    kind: int  # USER, or 2 for a host's
    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: Mapping[str, bytes]  # critical options, not decoded
    signer: PublicKey
    signature_algorithm: str


def is_certificate(blob: bytes) -> bool:
    """Whether the blob of a public key is a certificate's."""
    return algorithm_of(blob).endswith(CERTIFICATE_SUFFIX)


def armored(blob: bytes) -> str:
    """As a line of a ``-cert.pub`` file."""
    return f"{algorithm_of(blob)} {base64.b64encode(blob).decode()}"


def decode_untrusted(blob: bytes) -> Certificate:
    """Read the certificate of `blob`.

    Raises:
        BadCertificate: cut, garbled, or of a key type that is not taken.
    """
    algorithm = algorithm_of(blob).removesuffix(CERTIFICATE_SUFFIX)
    strings = _KEY_STRINGS.get(algorithm)
    if strings is None or not is_certificate(blob):
        raise BadCertificate(f"certificates of type {algorithm_of(blob)!r} are not taken")
    reader = _Reader(blob)
    reader.string()  # the type, again
    reader.string()  # nonce
    start = reader.at
    for _ in range(strings):
        reader.string()
    own = len(algorithm).to_bytes(4, "big") + algorithm.encode() + blob[start : reader.at]
    serial, kind = reader.number(8), reader.number(4)
    key_id = reader.text()
    principals = _Reader(reader.string())
    valid_after, valid_before = reader.number(8), reader.number(8)
    critical = _options(reader.string())
    reader.string()  # extensions: permissions that nobody has here
    reader.string()  # reserved
    signer, signature = reader.string(), reader.string()
    if not reader.at_end:
        raise BadCertificate("bytes after the certificate's end")
    try:
        key, authority = decode_key(own), decode_key(signer)
    except KeyRefused as refused:
        raise BadCertificate(f"its key or its signer's: {refused}") from None
    return Certificate(
        key=key,
        kind=kind,
        serial=serial,
        key_id=key_id,
        principals=tuple(principals.texts()),
        valid_after=valid_after,
        valid_before=valid_before,
        critical=critical,
        signer=authority,
        signature_algorithm=algorithm_of(signature),
    )


def _options(data: bytes) -> dict[str, bytes]:
    reader = _Reader(data)
    found: dict[str, bytes] = {}
    while not reader.at_end:
        name, value = reader.text(), reader.string()
        if name in found:
            raise BadCertificate(f"the option {name!r} twice")
        found[name] = value
    return found


def option_text(value: bytes) -> str:
    """The text of an option that holds one string. Raises BadCertificate."""
    reader = _Reader(value)
    text = reader.text()
    if not reader.at_end:
        raise BadCertificate("an option with more than its text")
    return text


class _Reader:
    """The data types of RFC 4251, 5."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def at_end(self) -> bool:
        return self.at == len(self._data)

    def _take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) < size:
            raise BadCertificate("it is cut")
        self.at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number(4))

    def text(self) -> str:
        try:
            return self.string().decode()
        except UnicodeDecodeError:
            raise BadCertificate("a text in it is not UTF-8") from None

    def texts(self) -> list[str]:
        found = []
        while not self.at_end:
            found.append(self.text())
        return found
