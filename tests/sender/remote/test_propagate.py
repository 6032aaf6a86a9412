"""`kdump propagate` against real servers: asyncssh with passwords and a shell, and OpenSSH's sshd."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from sender.conf.targets import Ssh
from sender.failure import RemoteError
from sender.host import Host
from sender.remote.connection import Answer, Connection
from sender.remote.hostkey import HostKey, Known, Sshfp, Unknown, Vouched, Wrong, judge, read_sshfp
from sender.remote.propagate import Trust, make_key, propagate
from sender.remote.trial import read_df, try_path
from sender.verbs.propagate import Options
from sender.verbs.propagate import propagate as verb
from tests.sender.conftest import Fake

PASSWORD = "one-time token"


@dataclass
class Server:
    """Commands run in ``home`` in a real shell, unless ``answers`` says otherwise."""

    home: Path
    port: int = 0
    key: HostKey = field(default_factory=lambda: HostKey("", b""))
    takes_password: bool = True
    takes_keys: bool = True
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    open: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    @property
    def target(self) -> Ssh:
        return Ssh("kdump", "127.0.0.1", self.port)

    @property
    def authorized(self) -> str:
        file = self.home / ".ssh/authorized_keys"
        return file.read_text() if file.exists() else ""


class Door(asyncssh.SSHServer):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.server.open.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self.server.takes_password

    def validate_password(self, username: str, password: str) -> bool:
        return password == PASSWORD

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        blob = key.export_public_key().decode().split()[1]
        return self.server.takes_keys and blob in self.server.authorized


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An ssh server on a free port of loopback, in a thread of its own."""
    made = Server(tmp_path / "home")
    made.home.mkdir()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    kind, blob = host_key.export_public_key().decode().split()[:2]
    made.key = HostKey(kind, base64.b64decode(blob))
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def command(process: asyncssh.SSHServerProcess[bytes]) -> None:
        line = process.command or ""
        made.commands.append(line)
        for start, (status, text) in made.answers.items():
            if line.startswith(start):
                process.stderr.write(text.encode())
                process.exit(status)
                return
        data = await process.stdin.read()
        shell = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            line,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=made.home,
            env={**os.environ, "HOME": str(made.home)},
        )
        out, err = await shell.communicate(data)
        process.stdout.write(out)
        process.stderr.write(err)
        process.exit(shell.returncode or 0)

    async def serve() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: Door(made),
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            process_factory=command,
            encoding=None,
        )

    acceptors: list[asyncssh.SSHAcceptor] = []

    def run() -> None:
        asyncio.set_event_loop(loop)
        acceptors.append(loop.run_until_complete(serve()))
        ready.set()
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    made.port = acceptors[0].get_port()
    yield made

    async def close() -> None:
        acceptors[0].close()
        await acceptors[0].wait_closed()
        for connection in made.open:
            connection.abort()
            await connection.wait_closed()

    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@dataclass
class Operator:
    """Who answers questions and keeps what was said."""

    yes: bool = True
    password: str = PASSWORD
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)

    def confirm(self, question: str) -> bool:
        self.asked.append(question)
        return self.yes

    def give(self, target: str) -> str:
        self.asked.append(f"password of {target}")
        return self.password


def go(
    server: Server,
    tmp_path: Path,
    operator: Operator,
    *,
    trust: Trust | None = None,
    known: tuple[str, ...] = (),
) -> str:
    key = str(tmp_path / "kdump_id_ed25519")
    public = make_key(Host(), key, "ed25519", operator.said.append)
    room = propagate(
        server.target,
        key,
        public,
        str(server.home / "crash"),
        known=known,
        records=(),
        trust=trust or Trust(operator.confirm),
        pin=operator.pinned.append,
        password=operator.give,
        say=operator.said.append,
        seconds=10,
    )
    assert room.free_kib is not None
    assert room.free_kib > 0
    return public


def test_from_no_key_to_a_tried_path(server: Server, tmp_path: Path) -> None:
    """Key made, host key shown and pinned, password asked once, key installed and used, path written to."""
    operator = Operator()
    public = go(server, tmp_path, operator)
    assert public in server.authorized
    assert operator.pinned == [server.key.line("127.0.0.1", server.port)]
    assert operator.asked == [
        "The host key of 127.0.0.1 is not known.\n"
        f"ssh-ed25519 {server.key.fingerprint}\nIs it the right one?",
        f"password of kdump@127.0.0.1:{server.port}",
    ]
    assert "Generating new ssh keys... " in operator.said
    assert any("has been added to ~kdump/.ssh/authorized_keys on 127.0.0.1" in s for s in operator.said)
    assert [c.split()[0] for c in server.commands] == ["exec", "mkdir", "mktemp", "rmdir", "df"]
    assert list((server.home / "crash").iterdir()) == []


def test_the_second_time_nothing_is_asked(server: Server, tmp_path: Path) -> None:
    """Pinned host key, known key: only the path is tried again."""
    first = Operator()
    go(server, tmp_path, first)
    second = Operator()
    go(server, tmp_path, second, known=tuple(first.pinned))
    assert second.asked == []
    assert second.said[0] == "Using existing keys..."
    assert server.authorized.count("ssh-ed25519") == 1


def test_a_host_key_that_is_not_confirmed_stops_it(server: Server, tmp_path: Path) -> None:
    """Before any password is sent."""
    operator = Operator(yes=False)
    with pytest.raises(RemoteError, match="was not accepted"):
        go(server, tmp_path, operator)
    assert len(operator.asked) == 1
    assert operator.pinned == []


def test_accept_new_and_fingerprint_ask_nothing(server: Server, tmp_path: Path) -> None:
    """For those who deploy by program."""
    for trust in (
        Trust(lambda q: False, accept_new=True),
        Trust(lambda q: False, fingerprint=server.key.fingerprint),
        Trust(lambda q: False, fingerprint=server.key.fingerprint.removeprefix("SHA256:")),
    ):
        operator = Operator()
        go(server, tmp_path, operator, trust=trust)
        assert operator.pinned


def test_a_wrong_fingerprint_stops_it(server: Server, tmp_path: Path) -> None:
    """--accept-new does not help it."""
    other = HostKey("ssh-ed25519", b"other")
    trust = Trust(lambda q: True, accept_new=True, fingerprint=other.fingerprint)
    with pytest.raises(RemoteError, match=re.escape(f"its fingerprint is {server.key.fingerprint}")):
        go(server, tmp_path, Operator(), trust=trust)


def test_a_changed_host_key_stops_it(server: Server, tmp_path: Path) -> None:
    """Whatever the operator would answer."""
    pinned = HostKey("ssh-ed25519", b"the old one").line("127.0.0.1", server.port)
    with pytest.raises(RemoteError, match="is not the pinned one"):
        go(server, tmp_path, Operator(), known=(pinned,), trust=Trust(lambda q: True, accept_new=True))
    assert server.commands == []


def test_a_wrong_password_is_told(server: Server, tmp_path: Path) -> None:
    """RHEL's words, and which."""
    with pytest.raises(
        RemoteError, match=r"Failed to propagate ssh key, could not transfer .* does not accept the password"
    ):
        go(server, tmp_path, Operator(password="no"))


def test_a_server_without_passwords_is_told(server: Server, tmp_path: Path) -> None:
    """With what it does take."""
    server.takes_password = False
    with pytest.raises(RemoteError, match="does not take the password or token; it takes publickey"):
        go(server, tmp_path, Operator())


def test_a_key_that_is_stored_but_not_accepted_is_told(server: Server, tmp_path: Path) -> None:
    """StrictModes, PubkeyAuthentication no, a receiver that wants approval."""
    server.takes_keys = False
    with pytest.raises(RemoteError, match="stored the key but does not accept it"):
        go(server, tmp_path, Operator())


@pytest.mark.parametrize(
    ("step", "answer", "words"),
    [
        ("exec sh -c", (1, "disk full"), "did not store the key: disk full"),
        (
            "mkdir",
            (1, "Permission denied"),
            "Could not create .* check the privilege on server side .Permission denied",
        ),
        ("mktemp", (1, ""), "Could not create temporary directory .*it ended with 1 and no word"),
        ("rmdir", (1, "busy"), "cannot be removed .busy"),
    ],
)
def test_each_step_that_fails_is_named(
    server: Server, tmp_path: Path, step: str, answer: tuple[int, str], words: str
) -> None:
    """With the server's own words."""
    server.answers[step] = answer
    with pytest.raises(RemoteError, match=words):
        go(server, tmp_path, Operator())


def test_nobody_listening_is_told() -> None:
    """Refused, unresolvable and silent are three sentences."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(RemoteError, match="refuses connections: is sshd or kdump-receiver running"):
        Connection(Ssh("a", "127.0.0.1", port), 5)
    with pytest.raises(RemoteError, match="does not resolve") as caught:
        Connection(Ssh("a", "no-such-host.invalid", 22), 5)
    assert caught.value.exit_code == 68


def test_a_server_that_says_nothing_is_given_up() -> None:
    """A listening port without a banner."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(RemoteError, match=r"does not answer|broke off"):
            Connection(Ssh("a", "127.0.0.1", silent.getsockname()[1]), 1)


def test_something_that_is_no_ssh_is_told() -> None:
    """A web server on the port."""
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen()

        def answer() -> None:
            connection, _ = web.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RemoteError, match="broke off"):
            Connection(Ssh("a", "127.0.0.1", web.getsockname()[1]), 3)
        thread.join(10)


def test_the_verb_reads_the_password_from_file_or_environment(
    server: Server, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never from the command line; the pin lands where the image is built from."""
    (tmp_path / "hosts").write_text("127.0.0.1 192.0.2.9\n")
    fake.conf(f"ssh kdump@127.0.0.1:{server.port}\npath {server.home}/crash\n")
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    assert verb(fake.session, Options(accept_new=True, password_file=str(secret), seconds=10)) == 0
    assert (fake.root / "root/.ssh/kdump_id_ed25519").stat().st_mode & 0o777 == 0o600
    assert server.key.line("127.0.0.1", server.port) in (fake.root / "var/lib/kdump/known_hosts").read_text()
    assert "can be written to" in fake.said
    server.home.joinpath(".ssh/authorized_keys").unlink()
    monkeypatch.setenv("KDUMP_PASSWORD", PASSWORD)
    assert verb(fake.session, Options(seconds=10)) == 0


def test_openssh_itself_is_asked_the_same(tmp_path: Path) -> None:
    """A plain sshd: the key is there already, the path is tried with real mkdir, mktemp, df and rmdir."""
    from tests.e2e.server import sshd

    with sshd(tmp_path / "sshd") as plain:
        target = Ssh("root", "127.0.0.1", plain.port)
        with Connection(target, 10) as connection:
            connection.login_with_key(str(plain.key))
            room = try_path(connection, str(plain.dumps / "deep/down"), str(target))
        assert room.free_kib
        assert (plain.dumps / "deep/down").is_dir()


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    """Nobody types in a capture kernel."""
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    with pytest.raises(RemoteError, match="cannot be read without a passphrase"):
        make_key(Host(), str(key), "ed25519", lambda text: None)


KEY = HostKey("ssh-ed25519", b"key")
SSHFP = Sshfp(4, 2, hashlib.sha256(b"key").hexdigest(), signed=True)


@pytest.mark.parametrize(
    ("records", "judged"),
    [
        ((SSHFP,), Vouched("a signed SSHFP record")),
        (
            (Sshfp(4, 2, SSHFP.value, signed=False),),
            Unknown("an SSHFP record says the same, but DNSSEC does not vouch for it"),
        ),
        (
            (Sshfp(4, 2, "00", signed=True),),
            Wrong(f"the signed SSHFP record of DNS does not match {KEY.fingerprint}"),
        ),
        ((Sshfp(4, 2, "00", signed=False),), Unknown()),
        ((Sshfp(1, 2, SSHFP.value, signed=True),), Unknown()),  # of the RSA key
        ((), Unknown()),
    ],
)
def test_dns_vouches_only_with_dnssec(records: tuple[Sshfp, ...], judged: object) -> None:
    """An unsigned record is a hint, a signed one that differs is a no."""
    assert judge(KEY, (), records=records) == judged


def test_a_pinned_key_needs_no_other_word() -> None:
    """Hashed names and markers are ssh-keygen's business; here come its matches."""
    assert judge(KEY, ["|1|abc= " + " ".join(KEY.line("h", 22).split()[1:])]) == Known()
    assert judge(KEY, ["h ssh-rsa AAAA"]) == Unknown()


def test_dig_is_read() -> None:
    """The ad flag is what makes the difference."""
    text = ";; flags: qr rd ra ad; QUERY: 1\n\nh. 60 IN SSHFP 4 2 ABCD 0123\nh. 60 IN RRSIG SSHFP 8 2\n"
    assert read_sshfp(text) == (Sshfp(4, 2, "ABCD0123", signed=True),)
    assert not read_sshfp(text.replace(" ad;", ";"))[0].signed


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 40 60 40% /\n", 60),
        ("Filesystem\n/dev/mapper/a-very-long-name-of-a-volume\n  100 40 60 40% /srv\n", 60),
        ("", None),
        ("df: no such file", None),
    ],
)
def test_df_is_read_as_it_comes(text: str, free: int | None) -> None:
    """A long device name breaks the line."""
    assert read_df(text) == free


def test_a_mktemp_that_says_nothing_is_not_believed() -> None:
    """Status 0 without a path."""

    class Mute:
        def run(self, command: str, stdin: bytes = b"") -> Answer:
            return Answer(0, "", "")

    with pytest.raises(RemoteError, match="temporary directory"):
        try_path(Mute(), "/x", "a@b")
