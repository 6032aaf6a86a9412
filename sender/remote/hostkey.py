"""Whether a server is the one it says it is: known hosts, fingerprints, SSHFP records.

Pure, but for `sshfp_records`. Sources: sshd(8) known_hosts; RFC 4255 and 6594 (SSHFP).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sender.host import Host

_ALGORITHMS = {1: "ssh-rsa", 2: "ssh-dss", 3: "ecdsa", 4: "ssh-ed25519", 6: "ssh-ed448"}
_DIGESTS = {1: "sha1", 2: "sha256"}


@dataclass(frozen=True, slots=True)
class HostKey:
    """A server's public key: its type, such as ssh-ed25519, and its wire bytes."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ssh-keygen -l prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def line(self, host: str, port: int) -> str:
        """The line of known_hosts that pins it."""
        name = f"[{host}]:{port}" if port not in (0, 22) else host
        return f"{name} {self.kind} {base64.b64encode(self.blob).decode()}"


@dataclass(frozen=True, slots=True)
class Sshfp:
    """One SSHFP record; ``signed`` when DNSSEC vouches for it."""

    algorithm: int
    digest: int
    value: str
    signed: bool

    def matches(self, key: HostKey) -> bool:
        """Whether it speaks of this key."""
        wanted = _ALGORITHMS.get(self.algorithm, "-")
        name = _DIGESTS.get(self.digest)
        if name is None or not key.kind.startswith(wanted):
            return False
        return hashlib.new(name, key.blob, usedforsecurity=False).hexdigest() == self.value.lower()


@dataclass(frozen=True, slots=True)
class Known:
    """It is pinned already."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Not pinned yet, but ``by`` says it is right."""

    by: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody vouches for it: the operator has to look."""

    hint: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """It is not the key it should be."""

    why: str


Judgement = Known | Vouched | Unknown | Wrong


def judge(
    key: HostKey, known_lines: Iterable[str], fingerprint: str = "", records: Sequence[Sshfp] = ()
) -> Judgement:
    """Judge a key by what is pinned, by the operator's ``--fingerprint``, by DNS; in this order."""
    pinned = [
        line.split()[1:3] for line in known_lines if not line.startswith("@") and len(line.split()) >= 3
    ]
    same_kind = [blob for kind, blob in pinned if kind == key.kind]
    if fingerprint and not _same_fingerprint(key, fingerprint):
        return Wrong(f"its fingerprint is {key.fingerprint}, not {fingerprint}")
    if base64.b64encode(key.blob).decode() in same_kind:
        return Known()
    if same_kind:
        return Wrong(f"its {key.kind} key is not the pinned one, but {key.fingerprint}")
    if fingerprint:
        return Vouched("--fingerprint")
    about = [record for record in records if _ALGORITHMS.get(record.algorithm, "-") in key.kind]
    if any(record.matches(key) and record.signed for record in about):
        return Vouched("a signed SSHFP record")
    if any(record.matches(key) for record in about):
        return Unknown("an SSHFP record says the same, but DNSSEC does not vouch for it")
    if any(record.signed for record in about):
        return Wrong(f"the signed SSHFP record of DNS does not match {key.fingerprint}")
    return Unknown()


def read_sshfp(dig: str) -> tuple[Sshfp, ...]:
    """The records in what ``dig +dnssec SSHFP NAME`` printed; the ``ad`` flag is DNSSEC's word."""
    signed = any(line.startswith(";; flags:") and " ad" in line.split(";")[2] for line in dig.splitlines())
    found = []
    for line in dig.splitlines():
        words = line.split()
        if len(words) >= 7 and words[2:4] == ["IN", "SSHFP"] and words[4].isdigit() and words[5].isdigit():
            found.append(Sshfp(int(words[4]), int(words[5]), "".join(words[6:]), signed))
    return tuple(found)


def sshfp_records(host: Host, name: str) -> tuple[Sshfp, ...]:
    """Ask DNS, where ``dig`` is installed; nothing is wrong with having no records."""
    ran = host.run(["dig", "+dnssec", "+time=3", "+tries=1", "SSHFP", name], 10)
    return read_sshfp(ran.out) if ran.status == 0 else ()


def _same_fingerprint(key: HostKey, given: str) -> bool:
    if given.upper().startswith("MD5:") or given.count(":") == 15:
        digest = hashlib.md5(key.blob, usedforsecurity=False).hexdigest()
        return digest == given.upper().removeprefix("MD5:").replace(":", "").lower()
    return key.fingerprint == "SHA256:" + given.removeprefix("SHA256:").rstrip("=")
