"""`kdump propagate`: one server, from no key at all to a dump path that was tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sender.conf.targets import Ssh
from sender.failure import NO_PERMISSION, RemoteError
from sender.host import Host
from sender.remote.connection import AuthRefusedError, Connection
from sender.remote.hostkey import HostKey, Known, Sshfp, Unknown, Vouched, Wrong, judge
from sender.remote.trial import Room, install_key, try_path

KEY_SECONDS = 300  # an RSA key on a machine without entropy


@dataclass(frozen=True, slots=True)
class Trust:
    """How a host key that is not pinned may become so; ``confirm`` shows it and asks the operator."""

    confirm: Callable[[str], bool]
    accept_new: bool = False
    fingerprint: str = ""


def make_key(host: Host, path: str, kind: str, say: Callable[[str], None]) -> str:
    """The public key of ``path``, made if it is missing; ``kind`` is ed25519 or rsa.

    Raises:
        RemoteError: ssh-keygen cannot, or the key has a passphrase that no capture kernel could type.
    """
    file = host.path(path)
    if file.exists():
        say("Using existing keys...")
    else:
        say("Generating new ssh keys... ")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        comment = f"kdump@{(host.read('/proc/sys/kernel/hostname') or 'localhost').strip()}"
        bits = ["-b", "3072"] if kind == "rsa" else []
        argv = ["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", comment, "-f", str(file)]
        ran = host.run(argv, KEY_SECONDS)
        if ran.status != 0:
            raise RemoteError(f"{path}: ssh-keygen could not make the key ({ran.err.strip()})")
        say("done.")
    ran = host.run(["ssh-keygen", "-y", "-P", "", "-f", str(file)], 30)
    if ran.status != 0:
        raise RemoteError(
            f"{path} cannot be read without a passphrase or is no private key ({ran.err.strip()});"
            " name another with sshkey"
        )
    return ran.out.strip()


def trust_host(
    connection: Connection, known: Sequence[str], records: Sequence[Sshfp], trust: Trust
) -> str | None:
    """The known_hosts line to pin, None where the key is pinned already.

    Raises:
        RemoteError: it is the wrong key, or the operator does not trust it.
    """
    target, key = connection.target, connection.host_key
    match judge(key, known, trust.fingerprint, records):
        case Known():
            return None
        case Wrong(why):
            raise _refused(
                f"{target.host} is not the host it should be: {why}. If its key was changed on purpose,"
                f" remove the old one (ssh-keygen -R {target.host}) and run `kdump propagate` again"
            )
        case Vouched():
            return key.line(target.host, target.port)
        case Unknown(hint):
            if trust.accept_new or trust.confirm(_question(target, key, hint)):
                return key.line(target.host, target.port)
    raise _refused(
        f"the host key of {target.host} was not accepted; check it, or give --fingerprint or --accept-new"
    )


def propagate(
    target: Ssh,
    key_path: str,
    public_key: str,
    path: str,
    *,
    known: Sequence[str],
    records: Sequence[Sshfp],
    trust: Trust,
    pin: Callable[[str], None],
    password: Callable[[str], str],
    say: Callable[[str], None],
    seconds: float = 30,
) -> Room:
    """Bring the key to one server and try the path with it. ``pin`` stores a known_hosts line.

    Raises:
        RemoteError: at which step, and what to do.
    """
    with Connection(target, seconds) as connection:
        line = trust_host(connection, known, records, trust)
        if line:
            pin(line)
            say(f"The host key of {target.host} is pinned: {connection.host_key.fingerprint}")
        try:
            connection.login_with_key(key_path)
            say(f"{key_path} is accepted by {target} already")
            return try_path(connection, target.path or path, str(target))
        except AuthRefusedError:
            pass
    with _same_server(target, connection.host_key, seconds) as connection:
        try:
            connection.login_with_password(password(str(target)))
        except AuthRefusedError as error:
            raise _refused(
                f"Failed to propagate ssh key, could not transfer {key_path} to {target}: {error}"
            ) from error
        install_key(connection, public_key, str(target))
    say(f"{key_path} has been added to ~{target.user}/.ssh/authorized_keys on {target.host}")
    with _same_server(target, connection.host_key, seconds) as connection:
        try:
            connection.login_with_key(key_path)
        except AuthRefusedError as error:
            raise _refused(
                f"{target} stored the key but does not accept it: check PubkeyAuthentication,"
                " the mode of ~/.ssh and whether the receiver wants to approve new hosts"
            ) from error
        return try_path(connection, target.path or path, str(target))


def _same_server(target: Ssh, key: HostKey, seconds: float) -> Connection:
    """Another connection, to the very key that was trusted a moment ago."""
    connection = Connection(target, seconds)
    if connection.host_key != key:
        with connection:
            raise _refused(
                f"{target.host} shows another host key now ({connection.host_key.fingerprint}); try again"
            )
    return connection


def _question(target: Ssh, key: HostKey, hint: str) -> str:
    return (
        f"The host key of {target.host} is not known.\n{key.kind} {key.fingerprint}\n"
        + (f"({hint})\n" if hint else "")
        + "Is it the right one?"
    )


def _refused(text: str) -> RemoteError:
    failure = RemoteError(text)
    failure.exit_code = NO_PERMISSION
    return failure
