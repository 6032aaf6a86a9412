"""One ssh connection, a deadline on every wait; paramiko's exceptions end here, as the operator's words."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import paramiko

from sender.conf.targets import Ssh
from sender.failure import NO_HOST, NO_PERMISSION, PROTOCOL, RemoteError
from sender.remote.hostkey import HostKey

MAX_ANSWER = 1 << 20  # bytes of output kept of one command


class AuthRefusedError(RemoteError):
    """The server does not let this user in; ``methods`` is what it would take."""

    exit_code = NO_PERMISSION

    def __init__(self, text: str, methods: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.methods = methods


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on the server gave; ``status`` -1 when the server sent none."""

    status: int
    out: str
    err: str


class Connection:
    """A transport to one target; ``seconds`` bounds each single wait."""

    def __init__(self, target: Ssh, seconds: float = 30) -> None:
        """Connect and exchange keys; nobody is logged in yet.

        Raises:
            RemoteError: no such host, nobody listens there, or no ssh that we share algorithms with.
        """
        self.target = target
        self.seconds = seconds
        where = f"{target.host}:{target.port or 22}"
        with _translated(target, where):
            sock = socket.create_connection((target.host, target.port or 22), timeout=seconds)
            self._transport = paramiko.Transport(sock)
            try:
                self._transport.banner_timeout = seconds
                self._transport.auth_timeout = seconds
                self._transport.start_client(timeout=seconds)
                if not self._transport.initial_kex_done:  # start_client just returns when its time is up
                    raise TimeoutError("no key exchange")
                key = self._transport.get_remote_server_key()
            except BaseException:
                self._transport.close()
                raise
        self.host_key = HostKey(key.get_name(), key.asbytes())  # the one the server proved to have

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def login_with_key(self, path: str) -> None:
        """Raises AuthRefusedError where the server does not take it, RemoteError where we cannot read it."""
        try:
            key = _load_key(path)
        except (OSError, paramiko.SSHException, ValueError) as error:
            raise RemoteError(
                f"{path}: not a private key that can be read ({error}); run `kdump propagate`"
            ) from error
        with _translated(self.target, path):
            self._transport.auth_publickey(self.target.user, key)

    def login_with_password(self, password: str) -> None:
        """Raises AuthRefusedError where it is wrong, or the server takes none."""
        with _translated(self.target, "the password or token"):
            try:
                self._transport.auth_password(self.target.user, password, fallback=False)
            except paramiko.BadAuthenticationType as error:
                if "keyboard-interactive" not in error.allowed_types:
                    raise
                self._transport.auth_interactive(
                    self.target.user, lambda _t, _i, prompts: [password] * len(prompts)
                )

    def run(self, command: str, stdin: bytes = b"") -> Answer:
        """One exec request. Raises RemoteError where the server breaks off or says nothing for too long."""
        with _translated(self.target, f"`{command.split(' ', 1)[0]}`"):
            channel = self._transport.open_session(timeout=self.seconds)
            with contextlib.closing(channel):
                channel.settimeout(self.seconds)
                channel.exec_command(command)
                with contextlib.suppress(OSError):  # a server may answer without reading it
                    channel.sendall(stdin)
                    channel.shutdown_write()
                out, err = _drain(channel, time.monotonic() + self.seconds)
                return Answer(
                    channel.recv_exit_status(), out.decode(errors="replace"), err.decode(errors="replace")
                )


def _drain(channel: paramiko.Channel, deadline: float) -> tuple[bytes, bytes]:
    """Both outputs to their end."""
    out, err = bytearray(), bytearray()
    while True:
        if channel.recv_ready():
            out += channel.recv(65536)
        elif channel.recv_stderr_ready():
            err += channel.recv_stderr(65536)
        elif channel.closed or (channel.eof_received and channel.exit_status_ready()):
            # some servers send the status before the last of the output: both ends are waited for
            if not (channel.recv_ready() or channel.recv_stderr_ready()):
                return bytes(out), bytes(err)
        elif time.monotonic() > deadline or len(out) + len(err) > MAX_ANSWER:
            raise TimeoutError("the server did not finish its answer")
        else:
            time.sleep(0.02)


def _load_key(path: str) -> paramiko.PKey:
    errors: Exception = ValueError("unknown kind of key")
    for kind in (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey):
        try:
            return kind.from_private_key_file(path)
        except (paramiko.SSHException, ValueError) as error:
            errors = error
    raise errors


@contextlib.contextmanager
def _translated(target: Ssh, what: str) -> Iterator[None]:
    """Every exception of sockets and paramiko, as a sentence."""
    host = target.host
    try:
        yield
    except RemoteError:
        raise
    except socket.gaierror as error:
        failure = RemoteError(
            f"{host} does not resolve ({error.strerror}); check the ssh line of kdump.conf and DNS"
        )
        failure.exit_code = NO_HOST
        raise failure from error
    except ConnectionRefusedError as error:
        raise RemoteError(
            f"{what} refuses connections: is sshd or kdump-receiver running, on this port?"
        ) from error
    except paramiko.BadAuthenticationType as error:
        methods = tuple(error.allowed_types)
        raise AuthRefusedError(
            f"{target.user}@{host} does not take {what}; it takes {', '.join(methods) or 'nothing'}", methods
        ) from error
    except paramiko.AuthenticationException as error:
        raise AuthRefusedError(f"{target.user}@{host} does not accept {what}") from error
    except TimeoutError as error:
        raise RemoteError(f"{host} does not answer ({what}); is a firewall between?") from error
    except paramiko.ssh_exception.IncompatiblePeer as error:
        failure = RemoteError(
            f"{host} shares no algorithm with us ({error}); update its sshd or give it an ed25519 key"
        )
        failure.exit_code = PROTOCOL
        raise failure from error
    except (paramiko.SSHException, EOFError) as error:
        failure = RemoteError(f"{host} broke off at {what}: {error or 'connection closed'}")
        failure.exit_code = PROTOCOL
        raise failure from error
    except OSError as error:
        raise RemoteError(f"{what} cannot be reached: {error.strerror or error}") from error
