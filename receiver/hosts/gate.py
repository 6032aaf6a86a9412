"""The key that a client shows, plain or certified: whose it is.

How the door asks asyncssh to prove it: in ``SSHServerConnection.validate_public_key(username,
key_data, msg, signature)`` it gives ``key_data`` to `judge`, and calls the method it overrides
with ``Shown.key.blob`` instead. So asyncssh only ever sees a plain key, and verifies the
client's signature with it. Its own certificate check wants the principal among the user names
and compares `source-address` with ``::ffff:10.0.0.7`` on a dual-stack socket; both would shut
out hosts whose certificates are in order.
"""

from __future__ import annotations

from receiver.hosts.certificates import Authorities, Shown
from receiver.hosts.certkeys import is_certificate
from receiver.hosts.identity import Denied
from receiver.hosts.keys import HostKeys
from receiver.hosts.public_key import KeyRefused, decode_untrusted


def judge(
    blob: bytes, peer: str, now: float, hosts: HostKeys, authorities: Authorities | None
) -> Shown | Denied:
    """Whose the key or certificate `blob` is, from `peer` at `now` (seconds since 1970).

    Reads one file and looks for a block. That the client has the private half is still to be proved.
    """
    if is_certificate(blob):
        if authorities is None:
            return Denied("a certificate, and the settings name no `user_ca`")
        shown = authorities.decide(blob, peer, now)
        if isinstance(shown, Denied):
            return shown
        key, found = shown.key, hosts.unless_blocked(shown.identity)
    else:
        try:
            key = decode_untrusted(blob)
        except KeyRefused as refused:
            return Denied(str(refused))
        found = hosts.find(key.fingerprint, peer)
    return found if isinstance(found, Denied) else Shown(key, found)
