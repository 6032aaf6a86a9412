"""A host that is no longer its owner's: what its key, and any stock client, can do here and what not."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver.spool.manifest import OURS
from tests.rig.machine import Machine
from tests.rig.receiver import Receiver
from tests.rig.sample import Sample
from tests.rig.sftp3 import (
    FOR_READING,
    LSTAT,
    NO_SUCH_FILE,
    OPEN,
    OPENDIR,
    PERMISSION_DENIED,
    READLINK,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    SYMLINK,
    Answer,
    Sftp3,
    number,
    string,
)

Host = Callable[..., Machine]

D = "/var/crash/10.0.1.7-2024-04-02-11:22:33"


@pytest.fixture(scope="module")
def victim(host: Host, sample: Sample) -> Machine:
    """A host whose dump is stored."""
    machine = host("victim")
    machine.sh(
        f"""
        ssh $T mkdir -p {D}
        echo panic | ssh $T "dd of={D}/vmcore-dmesg-incomplete.txt"
        ssh $T mv {D}/vmcore-dmesg-incomplete.txt {D}/vmcore-dmesg.txt
        ssh $T "dd of={D}/vmcore-incomplete" < $STREAM
        ssh $T mv {D}/vmcore-incomplete {D}/vmcore.flat || exit 1
        """,
        STREAM=sample.stream,
    )
    return machine


@pytest.fixture(scope="module")
def thief(host: Host) -> Machine:
    """Another enrolled host."""
    return host("thief")


@pytest.fixture(scope="module")
def thief_at_once(host: Host) -> Iterator[Machine]:
    """One more, all of whose clients share a connection."""
    machine = host("thief")
    with machine.one_connection():
        yield machine


def contents(directory: Path) -> dict[str, str]:
    """Every file below `directory` that a client sent, and its hash."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in OURS and not path.name.startswith(".")
    }


COMMANDS = (
    f"ls -l {D}/vmcore.flat",
    f"ls -l {D}/vmcore",
    f"mv {D}/vmcore.flat {D}/mine-incomplete",
    f"mv {D}/vmcore.flat /var/crash/elsewhere/vmcore",
    f"rmdir {D}",
    f"scp -f {D}/vmcore.flat",
    f"scp -f {D}/vmcore",
    f"scp -f {D}/vmcore-dmesg.txt",
    f"scp -f {D}/manifest.json",
    f"scp -r -f {D}",
    f"rm -rf {D}",
    f"cat {D}/vmcore.flat",
    f"dd if={D}/vmcore.flat of={D}/copy",
    f"ln -s {D}/vmcore.flat {D}/link",
    f"chmod 777 {D}/vmcore.flat",
    f"truncate -s 0 {D}/vmcore.flat",
    f"tar cf - {D}",
)


@pytest.mark.parametrize("who", ["victim", "thief"])
def test_no_command_touches_or_shows_what_is_stored(
    request: pytest.FixtureRequest, victim: Machine, who: str
) -> None:
    """Neither another host nor the one that sent it reads, renames or removes it; `ls -l` tells a size."""
    machine = request.getfixturevalue(who)
    directory = victim.directory()
    before = contents(directory)
    with machine.one_connection():
        answers = [(command, machine.ssh(command)) for command in COMMANDS]
    for command, done in answers:
        if who == "victim" and command == COMMANDS[0]:
            assert (done.returncode, len(done.stdout.split())) == (0, 9)
            continue
        assert done.returncode in {1, 126}, command
        assert len(done.stdout + done.stderr) < 400, command  # a sentence, never a file
    assert contents(directory) == before
    assert victim.dump()["files"][1]["requested"] == ["vmcore-incomplete", "vmcore.flat"]


@pytest.mark.parametrize("protocol", ["-O", "-s"])
@pytest.mark.parametrize("name", ["vmcore.flat", "vmcore", "vmcore-dmesg.txt", "manifest.json"])
def test_scp_fetches_nothing_that_is_stored(
    victim: Machine, tmp_path: Path, protocol: str, name: str
) -> None:
    """A thief with the host's own key reads neither the host's memory nor its log."""
    done = victim.sh(f"scp {protocol} $T:{D}/{name} {tmp_path}/", check=False)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", ["dd of={}", "cat > {}", "scp", "sftp"])
def test_what_is_sent_again_is_kept_beside(host: Host, sample: Sample, tmp_path: Path, tool: str) -> None:
    """Sending under a stored file's name adds an attempt; the stored bytes stay as they are."""
    machine = host("again")
    machine.ssh(f"dd of={D}/vmcore", stdin=sample.stream.read_bytes(), check=True)
    machine.ssh(f"dd of={D}/vmcore-dmesg.txt", stdin=b"the truth\n", check=True)
    before = contents(machine.directory())
    (tmp_path / "vmcore").write_bytes(b"KDUMP   " + b"\0" * 4000)
    (tmp_path / "vmcore-dmesg.txt").write_bytes(b"lies\n")
    for name in ("vmcore", "vmcore-dmesg.txt"):
        source, target = tmp_path / name, f"{D}/{name}"
        match tool:
            case "scp":
                machine.sh(f"scp -O {source} $T:{target}")
            case "sftp":
                machine.sh(f"scp -s {source} $T:{target}")
            case _:
                machine.ssh(tool.format(target), stdin=source.read_bytes(), check=True)
    after = contents(machine.directory())
    assert set(before.values()) <= set(after.values())
    assert after["vmcore"] == before["vmcore"]
    assert len(after) == 4, after


def test_sftp_shows_and_touches_nothing_of_another_host(victim: Machine, thief: Machine) -> None:
    """Request by request: not there, or denied."""
    before = contents(victim.directory())
    with Sftp3(thief) as session:
        for path in (D, f"{D}/vmcore.flat", f"/{victim.directory().name}/vmcore", str(victim.directory())):
            assert session.ask(STAT, string(path)).status == NO_SUCH_FILE
            assert session.ask(LSTAT, string(path)).status == NO_SUCH_FILE
            for asked in (
                session.ask(OPEN, string(path), number(FOR_READING), number(0)),
                session.ask(OPENDIR, string(path)),
                session.ask(REMOVE, string(path)),
                session.ask(RMDIR, string(path)),
                session.ask(READLINK, string(path)),
                session.ask(RENAME, string(path), string("/mine")),
                session.ask(SYMLINK, string(path), string("/link")),
            ):
                assert asked.status in {NO_SUCH_FILE, PERMISSION_DENIED}
    assert contents(victim.directory()) == before
    assert thief.dumps() == []


def test_sftp_does_not_read_or_change_its_own(victim: Machine) -> None:
    """A size, as `ls -l` tells it, and nothing else; a mode or length that is set changes nothing."""
    before = contents(victim.directory())
    path = f"{D}/vmcore.flat"
    with Sftp3(victim) as session:
        assert session.exists(path)
        denied: list[Answer] = [
            session.ask(OPEN, string(path), number(FOR_READING), number(0)),
            session.ask(OPENDIR, string(D)),
            session.ask(OPENDIR, string("/")),
            session.ask(REMOVE, string(path)),
            session.ask(SYMLINK, string("/etc/passwd"), string(f"{D}/link")),
        ]
        assert {answer.status for answer in denied} == {PERMISSION_DENIED}
        assert session.ask(RENAME, string(path), string(f"{D}/other")).status not in {0}
        assert session.ask(RMDIR, string(D)).status not in {0}
        session.ask(SETSTAT, string(path), number(1), (0).to_bytes(8, "big"))  # size 0
        session.ask(SETSTAT, string(path), number(4), number(0o777))  # permissions
    assert contents(victim.directory()) == before
    assert (victim.directory() / "vmcore").stat().st_mode & 0o777 == 0o600


def test_same_name_and_second_from_two_hosts_never_meet(host: Host, sample: Sample) -> None:
    """Each has a directory of its own, and answers about `D` are about its own."""
    one, two = host("twin"), host("twin")
    for machine, text in ((one, b"one\n"), (two, b"two!\n")):
        machine.ssh(f"mkdir {D}", check=True)
        machine.ssh(f"dd of={D}/vmcore-dmesg.txt", stdin=text, check=True)
        assert int(machine.ssh(f"ls -l {D}/vmcore-dmesg.txt").stdout.split()[4]) == len(text)
    assert one.directory() != two.directory()
    assert (one.directory() / "vmcore-dmesg.txt").read_bytes() == b"one\n"
    assert (two.directory() / "vmcore-dmesg.txt").read_bytes() == b"two!\n"
    for machine in (one, two):
        assert machine.directory().name.startswith(D.rpartition("/")[2])


PATHS = (
    b"../../etc/cron.d/x",
    b"/var/crash/../../../etc/cron.d/x",
    b"/var/crash/..",
    b"/" + b"n" * 256,
    b"/" + b"deep/" * 40 + b"x",
    b"/" + b"long/" * 300 + b"x",
    b"/var/crash/\xff\xfe/vmcore",
    "/var/crash/\N{RIGHT-TO-LEFT OVERRIDE}/vmcore".encode(),
    b"/var/crash/\x1b[2J/vmcore",
    b"/var/crash/two\nlines/vmcore",
)


def from_clients(root: Path) -> list[Path]:
    """All below `root` but what the server itself writes, while earlier dumps are still looked into."""
    ours = {"analysis.json", "report.json", "report.txt", "log.txt"}
    return sorted(
        path
        for path in root.rglob("*")
        if path.name not in ours and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: repr(path[:24]))
def test_paths_that_lead_astray_are_refused_at_every_door(
    thief_at_once: Machine, tmp_path: Path, path: bytes
) -> None:
    """A command, the old scp, the new scp: nothing comes into being anywhere."""
    root = thief_at_once.receiver.root
    before = from_clients(root)
    (tmp_path / "x").write_bytes(b"text")
    config = str(thief_at_once.config).encode()
    quoted = b"'" + path + b"'"
    for tool in (b"mkdir -p ", b"dd of=", b"cat > ", b"scp -t "):
        command = tool + quoted
        line = [b"ssh", b"-F", config, thief_at_once.target.encode(), command]
        done = subprocess.run(line, input=b"text", capture_output=True, timeout=60)
        if b"\xff" in path:
            assert done.returncode == 255, command  # SSH's exec requests are UTF-8
            continue
        assert done.returncode == 126, command
        assert done.stderr.startswith(b"kdump-receiver: "), command
        assert done.stderr.decode().strip().isprintable(), command
    for protocol in ("-O", "-s"):
        if protocol == "-O" and (b"\n" in path or b"\xff" in path):
            continue  # this scp will not send it
        scp = [b"scp", protocol.encode(), b"-F", config, bytes(tmp_path / "x")]
        done = subprocess.run(
            [*scp, thief_at_once.target.encode() + b":" + path], capture_output=True, timeout=60
        )
        assert done.returncode != 0
    assert from_clients(root) == before


def test_names_inside_scp_cannot_lead_astray(thief: Machine) -> None:
    """The rcp protocol names files, too: what the client says there is one entry, or nothing."""
    before = from_clients(thief.receiver.root)
    with thief.one_connection():
        for name in (b"../x", b"/etc/x", b"..", b".", b"a\0b", b"\xff", b"n" * 300):
            done = thief.ssh("scp -t -d /var/crash/", stdin=b"C0600 4 " + name + b"\ntext\0")
            assert done.returncode == 1, name
    assert from_clients(thief.receiver.root) == before


def test_manifest_and_notes_are_not_the_client_s_to_write(host: Host, sample: Sample) -> None:
    """Files that would pass for ours are stored under other names."""
    machine = host("forger")
    machine.ssh(f"dd of={D}/vmcore", stdin=sample.stream.read_bytes(), check=True)
    forged = ["manifest.json", ".incoming-abc", ".incoming-abc.json", "report.json", "report.txt", "log.txt"]
    for name in [*forged, "vmcore.incomplete"]:
        machine.ssh(f"cat > {D}/{name}", stdin=b'{"host": "forged"}\n', check=True)
    assert machine.dump()["host"] == machine.name
    assert machine.dump()["verdict"] == "complete"
    assert set(contents(machine.directory())) == {
        "vmcore",
        "vmcore.incomplete",
        *(f"_{name}" for name in forged),
    }


def test_there_is_no_shell(thief: Machine) -> None:
    """`ssh HOST`, without a terminal and at one: a sentence and status 126."""
    for line in ("ssh $T", 'script -qec "ssh -F $CONFIG $T" /dev/null'):
        done = thief.sh(line, check=False)
        assert done.returncode == 126
        assert "kdump-receiver: there is no shell here" in done.stdout + done.stderr


def test_there_is_no_terminal(thief: Machine) -> None:
    """`ssh -tt HOST COMMAND` insists on one: ssh itself gives up, and nothing is done."""
    done = thief.sh("ssh -tt $T mkdir -p /var/terminal", check=False)
    assert done.returncode == 255
    assert "PTY allocation request failed" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-o ExitOnForwardFailure=yes -R 0:127.0.0.1:22 $T exit", "forwarding failed"),
        ("-W 127.0.0.1:22 $T", "open failed"),
        ("-s $T netconf", "subsystem request failed"),
        ("-o ExitOnForwardFailure=yes -o Tunnel=point-to-point -w any:any $T exit", ""),
    ],
    ids=["-R", "-W", "another subsystem", "tunnel"],
)
def test_nothing_is_forwarded(thief: Machine, options: str, said: str) -> None:
    """What sshd offers beside commands is not there; ssh says so."""
    done = thief.sh(f"ssh -o PermitLocalCommand=no {options}", check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_local_forwarding_leads_nowhere(thief: Machine, tmp_path: Path) -> None:
    """-L: the listening socket is ssh's own; what it would reach is refused."""
    listening = Path("/tmp") / f"kdump-forward-{os.getpid()}"  # a socket's name has 108 bytes at most
    line = ["ssh", "-F", str(thief.config), "-v", "-N", "-L", f"{listening}:127.0.0.1:22", thief.target]
    with subprocess.Popen(line, stderr=subprocess.PIPE) as ssh:
        assert ssh.stderr is not None
        try:
            while b"Entering interactive session" not in ssh.stderr.readline():
                assert ssh.poll() is None
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(listening))
                assert client.recv(100) == b""
        finally:
            ssh.kill()
            listening.unlink(missing_ok=True)


def test_agent_x11_and_environment_are_left_aside(thief: Machine) -> None:
    """They are asked for by many an ssh_config; the command is obeyed and they are not."""
    line = "ssh -A -X -o SetEnv=LD_PRELOAD=/x -o SendEnv=* $T df --output=avail /var/crash"
    done = thief.sh(f"export DISPLAY=:99; {line}")
    assert done.stdout.split()[0] == "Avail"


@pytest.mark.parametrize("size", [17 << 10, 120 << 10])
def test_a_huge_command_is_refused(thief: Machine, size: int) -> None:
    """With a sentence of one line, in the log, too."""
    done = thief.ssh("mkdir -p /" + "x" * size)
    assert done.returncode == 126
    assert len(done.stderr) < 400
    assert max(map(len, thief.receiver.log.read_text().splitlines())) < 2000


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-\xff\xfe\x00garbage\r\n" + bytes(2000),
        b"SSH-1.5-old\r\n",
        b"\0" * 100_000,
        b"SSH-2.0-x\r\n" + b"\xff" * 40_000,
        b"SSH-2.0-" + b"x" * 100_000,
    ],
    ids=["http", "bytes in the version", "version 1", "zeros", "packets of noise", "endless version"],
)
def test_noise_on_the_port_ends_that_connection_only(
    collector: Receiver, thief: Machine, sent: bytes
) -> None:
    """A scanner's visit is no traceback, and the next client is served."""
    before = collector.log.read_text().count("Traceback")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=40) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert thief.ssh("exit").returncode == 0
    assert collector.log.read_text().count("Traceback") == before


def test_hosts_behind_one_shared_key_never_meet(collector: Receiver) -> None:
    """`host add --shared`: the address tells them apart, and each has a name space of its own."""
    first = Machine.stranger(collector, "rack", options={"BindAddress": "127.0.0.51"})
    second = Machine(collector, "rack@127.0.0.52", first.home, first.key, {"BindAddress": "127.0.0.52"})
    outside = Machine(collector, "rack@127.0.1.1", first.home, first.key, {"BindAddress": "127.0.1.1"})
    public = first.key.with_suffix(".pub")
    collector.cli("host", "add", "rack", "--key", str(public), "--shared", "--address", "127.0.0.0/24")
    first.name = "rack@127.0.0.51"
    for machine in (first, second):
        machine.ssh(f"dd of={D}/vmcore-dmesg.txt", stdin=machine.name.encode(), check=True)
    for machine in (first, second):
        assert (machine.directory() / "vmcore-dmesg.txt").read_text() == machine.name
        assert machine.dump()["peer"] == machine.ssh_options["BindAddress"]
    assert outside.ssh("exit").returncode == 255
