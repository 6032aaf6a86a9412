"""One public key: read from what people and clients hand in, and judged.

Sans-IO. The formats are those of OpenSSH: ``TYPE BASE64 COMMENT`` lines (sshd(8),
AUTHORIZED_KEYS FILE FORMAT) around the blobs of RFC 4253, 6.6 and RFC 5656, 3.1.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from receiver.failure import Failure

if TYPE_CHECKING:
    import asyncssh  # takes a while to load: `token list` and `host list` do without

TYPES: Final = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
)
RSA_BITS: Final = 2048  # the least that is taken without asking
WEAK_RSA_BITS: Final = 1024  # the least that is taken at all, as OpenSSH's RequiredRSASize
LONGEST_RSA_BITS: Final = 16384  # OPENSSL_RSA_MAX_MODULUS_BITS: longer ones only cost time
LINE_MAX: Final = 16 << 10  # characters; an RSA key of 16384 bits has 2800
COMMENT_MAX: Final = 200
CERTIFICATE_SUFFIX: Final = "-cert-v01@openssh.com"

_BITS_OF_TYPE = {"ssh-ed25519": 256}
_LINE = re.compile(
    r"(?P<before>.*?)(?:^|(?<=[\s]))(?P<type>[a-z][a-z0-9@.-]+)\s+(?P<base64>AAAA[A-Za-z0-9+/]+={0,2})"
    r"(?:\s+(?P<comment>.*))?$"
)
# What people hand in by mistake: a sign of it, and what to say. The first that fits.
_MISTAKES: Final = (
    (
        re.compile(r"PRIVATE KEY|PuTTY-User-Key-File"),
        "that is a PRIVATE key: keep it secret, and give the file that ends in .pub",
    ),
    (
        re.compile(r"BEGIN SSH2 PUBLIC KEY"),
        "that is a public key in the format of RFC 4716; convert it with: ssh-keygen -i -f FILE",
    ),
    (
        re.compile(r"BEGIN (RSA )?PUBLIC KEY"),
        "that is a public key in PEM; convert it with: ssh-keygen -i -m PKCS8 -f FILE",
    ),
    (
        re.compile(r"BEGIN CERTIFICATE"),
        "that is an X.509 certificate; the key's .pub file is wanted",
    ),
    (
        re.compile(r"^\s*\d{3,5}\s+\d{1,10}\s+\d{100}", re.MULTILINE),
        "that is a key of SSH protocol 1, which no client speaks any more",
    ),
)


class KeyRefused(Failure):
    """A key that cannot be enrolled; the text says why."""

    exit_code = 65  # EX_DATAERR


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that is what it says; whether it is strong enough is `check_strength`'s word."""

    algorithm: str  # of TYPES
    bits: int
    fingerprint: str  # as `ssh-keygen -l` shows it
    line: str  # ``TYPE BASE64``
    comment: str = field(default="", compare=False)

    @property
    def blob(self) -> bytes:
        """As it travels in SSH."""
        return base64.b64decode(self.line.partition(" ")[2])


def parse_untrusted(text: str) -> PublicKey:
    """The one public key of a ``.pub`` file.

    Raises:
        KeyRefused: what is there instead.
    """
    for sign, reason in _MISTAKES:
        if sign.search(text):
            raise KeyRefused(reason)
    lines = lines_of(text)
    if not lines:
        raise KeyRefused("there is no public key: nothing but blank lines or comments")
    if len(lines) > 1:
        raise KeyRefused(f"one public key is wanted, there are {len(lines)} lines")
    return parse_line_untrusted(lines[0])


def lines_of(text: str) -> list[str]:
    """The lines that say something."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def parse_line_untrusted(line: str) -> PublicKey:
    """``TYPE BASE64 COMMENT``.

    Options before the type (``from="…"``, ``command="…"``) are refused: they would promise
    a rule that is not kept here.

    Raises:
        KeyRefused: anything else.
    """
    if len(line) > LINE_MAX:
        raise KeyRefused(f"a line of {len(line)} characters is no public key")
    found = _LINE.fullmatch(line)
    if not found:
        raise KeyRefused(
            f"not a public key: {printable(line, 60)!r}; one begins with its type, like 'ssh-ed25519 AAAA'"
        )
    if found["before"].strip():
        raise KeyRefused(
            f"options before a key are not taken: {printable(found['before'].strip(), 60)!r}; "
            "addresses are given with `host add --address`"
        )
    try:
        blob = base64.b64decode(found["base64"], validate=True)
    except ValueError:
        raise KeyRefused(f"a {found['type']} key that is cut or garbled: its base64 does not end") from None
    key = decode_untrusted(blob)
    if key.algorithm != found["type"]:
        raise KeyRefused(f"the line says {printable(found['type'], 60)}, the key inside is {key.algorithm}")
    comment = printable(found["comment"] or "", COMMENT_MAX)
    return PublicKey(key.algorithm, key.bits, key.fingerprint, key.line, comment)


def decode_untrusted(blob: bytes) -> PublicKey:
    """The key of a blob as it travels in SSH.

    Raises:
        KeyRefused: no key, or of a kind that is not taken.
    """
    algorithm = algorithm_of(blob)
    if algorithm.endswith(CERTIFICATE_SUFFIX):
        raise KeyRefused("that is a certificate: its CA goes into `user_ca`; the plain key's .pub is wanted")
    if algorithm == "ssh-dss":
        raise KeyRefused("DSA keys are too weak; make another with: ssh-keygen -t ed25519")
    if algorithm.startswith("sk-"):
        raise KeyRefused("a security key wants a finger, and nobody is there when a host crashes")
    if algorithm not in TYPES:
        raise KeyRefused(f"keys of type {printable(algorithm, 60)!r} are not taken, only {', '.join(TYPES)}")
    import asyncssh

    try:
        key = asyncssh.import_public_key(f"{algorithm} {base64.b64encode(blob).decode()}")
        line = " ".join(key.export_public_key("openssh").decode().split()[:2])
        bits = _bits(key)
    except (asyncssh.KeyImportError, ValueError, OverflowError):
        raise KeyRefused(f"a {algorithm} key that is cut or garbled") from None
    return PublicKey(algorithm, bits, key.get_fingerprint(), line)


def algorithm_of(blob: bytes) -> str:
    """The type that a blob begins with, or an empty text."""
    size = int.from_bytes(blob[:4], "big")
    name = blob[4 : 4 + size]
    return name.decode("ascii", "replace") if len(name) == size <= 64 else ""


def check_strength(key: PublicKey, *, weak_rsa: bool = False) -> PublicKey:
    """`key`, if it is strong enough.

    Raises:
        KeyRefused: RSA of fewer bits than RSA_BITS (`weak_rsa`: WEAK_RSA_BITS), or of too many.
    """
    if key.algorithm != "ssh-rsa":
        return key
    least = WEAK_RSA_BITS if weak_rsa else RSA_BITS
    if key.bits < least:
        raise KeyRefused(
            f"an RSA key of {key.bits} bits is too weak, {least} are the least; "
            "make another with: ssh-keygen -t ed25519, or for EL6 and older: ssh-keygen -t rsa -b 3072"
        )
    if key.bits > LONGEST_RSA_BITS:
        raise KeyRefused(f"an RSA key of {key.bits} bits is too long, {LONGEST_RSA_BITS} are the most")
    return key


def printable(text: str, most: int) -> str:
    """`text` without what would move a terminal, at most `most` characters."""
    return "".join(c for c in text[:most] if c.isprintable())


def _bits(key: asyncssh.SSHKey) -> int:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    pyca = key.pyca_key
    if isinstance(pyca, RSAPublicKey):
        return pyca.key_size
    return _BITS_OF_TYPE.get(key.get_algorithm()) or int(key.get_algorithm().rpartition("nistp")[2])
