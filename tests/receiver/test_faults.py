"""The real server and real clients, killed, stopped and starved at many points.

Whatever happens, what a client was told is stored is stored, and what came of the
rest is kept, marked, and says what it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.builders import flattened
from tests.builders.kdump import Kdump
from tests.rig.receiver import Client, Receiver

LOG = b"[    0.000000] Linux version 6.1.0-test\n"
WAIT = 40.0  # seconds that anything may take here


def until(what: str, seconds: float = WAIT) -> Iterator[None]:
    """Look again and again, for a while; then it is a failure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.02)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


@pytest.fixture(scope="module")
def stream() -> bytes:
    """A flattened dump of some megabytes, with the facts of a real kernel's VMCOREINFO."""
    pages = {number: os.urandom(4096) for number in range(2000)}
    info = b"OSRELEASE=6.1.0-test\nPAGESIZE=4096\nCRASHTIME=1700000000\n"
    kdump = Kdump(pages, compression="none", vmcoreinfo=info, release="6.1.0-test")
    return flattened.stream(kdump.writes())


@pytest.fixture(scope="module")
def image(stream: bytes) -> bytes:
    return flattened.image(stream)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path, "grace_seconds = 1\nsilence_seconds = 5") as running:
        yield running


@pytest.fixture
def client(receiver: Receiver) -> Client:
    return Client.enrolled(receiver, "web01")


class Slow:
    """`ssh … dd of=…` whose standard input we hold: it stops where we say."""

    def __init__(self, client: Client, command: str) -> None:
        line = ["ssh", *client.options, "-p", str(client.receiver.port), client.target, command]
        self.process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._receiver = client.receiver

    def send(self, data: bytes) -> None:
        """Hand these to ssh."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, size: int) -> Path:
        """Until the server has written at least this much; the growing file."""
        for _ in until(f"{size} bytes on the server's disk"):
            for path in self._receiver.root.glob("*/.incoming-*"):
                if not path.name.endswith(".json") and path.stat().st_size >= size:
                    return path
        raise AssertionError

    def end(self) -> tuple[int, str]:
        """No more comes; ssh's status and what it said on standard error."""
        _, said = self.process.communicate(timeout=WAIT)
        return self.process.returncode, said.decode()

    def cut(self) -> None:
        """SIGKILL to ssh."""
        self.process.kill()
        self.process.communicate(timeout=WAIT)


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_beginning(stored: bytes, stream: bytes) -> bool:
    """Whether `stored` is what the first so many bytes of the stream make."""
    size, written = 0, bytearray()
    for offset, data in flattened.records(stream):
        piece = data[: max(0, len(stored) - offset)]
        at_the_end = len(piece) < len(data) or size == len(stored)
        if at_the_end and stored == written.ljust(len(stored), b"\0"):
            return True
        written[size:] = bytes(max(0, offset + len(piece) - size))
        written[offset : offset + len(piece)] = piece
        size = len(written)
    return stored == written


def true_manifests(receiver: Receiver) -> list[dict[str, Any]]:
    """Every dump, after a look whether its files are what its manifest says, and nothing else lies there."""
    dumps = receiver.dumps()
    for dump in dumps:
        directory = Path(dump["path"])
        on_disk = {path.name for path in directory.iterdir()}
        ours = {"manifest.json", "report.json", "report.txt", "log.txt"}
        assert on_disk - ours == {file["name"] for file in dump["files"]}
        for file in dump["files"]:
            assert (directory / file["name"]).stat().st_size == file["bytes"]
            assert file["sha256"] in {None, hash_of(directory / file["name"])}
    return dumps


def tidied(receiver: Receiver) -> dict[str, Any]:
    """The only dump, once the start has stored what the last process left."""
    for _ in until("the next start stores what was left"):
        (dump,) = receiver.dumps()
        if dump["files"] and not list(Path(dump["path"]).glob(".incoming-*")):
            return true_manifests(receiver)[0]
    raise AssertionError


def kill_during_upload(receiver: Receiver, client: Client, stream: bytes, size: int) -> None:
    """kill -9 of the server when `size` bytes came; the next start keeps them."""
    client.ssh("dd bs=512 of='/c/h-1/vmcore-dmesg.txt'", stdin=LOG)
    slow = Slow(client, "dd bs=512 of='/c/h-1/vmcore-incomplete'")
    slow.send(stream[:size])
    expected = flattened.image(stream[:size])
    growing = slow.wait_for(len(expected))
    receiver.kill()
    slow.cut()
    assert growing.exists()
    receiver.start()
    dump = tidied(receiver)
    assert dump["verdict"] == "truncated"
    if size > 1_000_000:
        assert dump["kernel_release"] == "6.1.0-test"
    by_name = {file["name"]: file for file in dump["files"]}
    assert by_name["vmcore-dmesg.txt"]["bytes"] == len(LOG)
    assert by_name["vmcore.incomplete"]["requested"] == ["vmcore-incomplete"]
    assert hash_of(Path(dump["path"]) / "vmcore.incomplete") == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("size", [pytest.param(300_000, marks=pytest.mark.slow), 5_000_000])
def test_a_killed_server_keeps_what_came(
    receiver: Receiver, client: Client, stream: bytes, size: int
) -> None:
    """kill -9 in the middle: the next start stores it as truncated, byte for byte, and what was whole is."""
    kill_during_upload(receiver, client, stream, size)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_server_keeps_what_came_at_every_count(tmp_path: Path, stream: bytes) -> None:
    """Forty byte counts over the whole stream."""
    for number in range(40):
        size = 4096 + 16 + 8 + (len(stream) - 10_000) * number // 40
        place = tmp_path / str(number)
        place.mkdir()
        with Receiver(place) as receiver:
            kill_during_upload(receiver, Client.enrolled(receiver, "web01"), stream, size)


def kill_after(receiver: Receiver, client: Client, stream: bytes, image: bytes, seconds: float) -> None:
    """kill -9 some time after the client's last byte, while it is judged, stored, listed, answered."""
    slow = Slow(client, "dd bs=512 of=/c/h-1/vmcore-incomplete && mv /c/h-1/vmcore-incomplete /c/h-1/vmcore")
    slow.send(stream)
    slow.wait_for(len(image) // 2)
    assert slow.process.stdin is not None
    slow.process.stdin.close()
    slow.process.stdin = None
    time.sleep(seconds)  # the point of the fault, not a wait for something
    receiver.kill()
    status, _ = slow.end()
    receiver.start()
    dump = tidied(receiver)
    (file,) = dump["files"]
    stored = (Path(dump["path"]) / file["name"]).read_bytes()
    if status == 0:
        assert dump["verdict"] == "complete"
        assert file["name"] == "vmcore"
        assert hashlib.sha256(stored).digest() == hashlib.sha256(image).digest()
    else:
        assert is_beginning(stored, stream)
    if status == 0:
        assert file["requested"][-1] == "vmcore"


def test_a_server_killed_after_the_last_byte_loses_nothing(
    receiver: Receiver, client: Client, stream: bytes, image: bytes
) -> None:
    kill_after(receiver, client, stream, image, 0.03)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_server_killed_at_any_time_after_the_last_byte_loses_nothing(
    tmp_path: Path, stream: bytes, image: bytes
) -> None:
    """Every few milliseconds of the time between the last byte and the answer."""
    for number in range(60):
        place = tmp_path / str(number)
        place.mkdir()
        with Receiver(place) as receiver:
            kill_after(receiver, Client.enrolled(receiver, "web01"), stream, image, 0.004 * number)


def test_a_killed_client_leaves_a_truncated_dump(receiver: Receiver, client: Client, stream: bytes) -> None:
    """The capture kernel dies, too: what came stays, and says where it broke off."""
    slow = Slow(client, "dd bs=512 of='/c/h-1/vmcore-incomplete'")
    slow.send(stream[:2_000_000])
    slow.wait_for(len(flattened.image(stream[:2_000_000])))
    slow.cut()
    dump = tidied(receiver)
    assert dump["verdict"] == "truncated"
    assert (
        hash_of(receiver.file("vmcore.incomplete"))
        == hashlib.sha256(flattened.image(stream[:2_000_000])).hexdigest()
    )


def test_a_frozen_client_is_given_up(receiver: Receiver, client: Client, stream: bytes) -> None:
    """Half-open: the peer answers no keepalive. After `silence_seconds` what came is stored."""
    slow = Slow(client, "dd bs=512 of='/c/h-1/vmcore-incomplete'")
    slow.send(stream[:500_000])
    slow.wait_for(len(flattened.image(stream[:500_000])))
    slow.process.send_signal(signal.SIGSTOP)
    try:
        assert tidied(receiver)["verdict"] == "truncated"
    finally:
        slow.cut()


def test_sigterm_keeps_an_upload_that_does_not_end(receiver: Receiver, client: Client, stream: bytes) -> None:
    """The grace period over, it is stored as it is before the server ends, with status 0."""
    slow = Slow(client, "dd bs=512 of='/c/h-1/vmcore-incomplete'")
    slow.send(stream[:500_000])
    slow.wait_for(len(flattened.image(stream[:500_000])))
    assert receiver.stop() == 0
    assert slow.end()[0] != 0
    assert true_manifests(receiver)[0]["verdict"] == "truncated"


def test_sigterm_waits_for_an_upload_that_ends_in_time(tmp_path: Path, stream: bytes, image: bytes) -> None:
    """No new client comes in; the one under way gets its answer."""
    with Receiver(tmp_path, "grace_seconds = 60") as receiver:
        client = Client.enrolled(receiver, "web01")
        slow = Slow(client, "cat > '/c/h-1/vmcore'")
        slow.send(stream[:500_000])
        slow.wait_for(400_000)
        os.kill(receiver.pid, signal.SIGTERM)
        for _ in until("the server says that it stops"):
            if "stopping uploads=1" in receiver.log.read_text():
                break
        slow.send(stream[500_000:])
        assert slow.end()[0] == 0
        assert receiver.stop() == 0
        dump = true_manifests(receiver)[0]
    assert dump["verdict"] == "complete"
    assert dump["files"][0]["sha256"] == hashlib.sha256(image).hexdigest()


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A file system of this size."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: a full disk was not tested")
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(directory)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no mount(8) of tmpfs here: a full disk was not tested")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.parametrize(
    "tool", ["dd", "sftp", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("cat", "scp"))]
)
def test_a_full_disk_is_said_in_the_tools_own_words(tmp_path: Path, stream: bytes, tool: str) -> None:
    """ "No space left on device", status 1; what came is stored and marked, and the manifest found room."""
    with (
        small_disk(tmp_path / "disk", "10M") as disk,
        Receiver(tmp_path, f"state_dir = {json.dumps(str(tmp_path / 'state'))}") as receiver,
    ):
        receiver.stop()
        text = [line for line in receiver.config.read_text().splitlines() if not line.startswith("root = ")]
        receiver.config.write_text("\n".join([f"root = {json.dumps(str(disk / 'spool'))}", *text]))
        receiver.root = disk / "spool"
        receiver.start()
        client = Client.enrolled(receiver, "web01")
        source = tmp_path / "vmcore"
        source.write_bytes(stream)
        if tool in {"dd", "cat"}:
            command = {"dd": "dd bs=512 of='/c/h-1/vmcore'", "cat": "cat > '/c/h-1/vmcore'"}[tool]
            done = client.ssh(command, stdin=source, check=False)
        else:
            done = client.scp(source, ":/c/h-1/vmcore", *(["-O"] if tool == "scp" else []))
        said = done.stderr.decode()
        assert done.returncode == 1, said
        if tool == "sftp":  # version 3 has no such status: its client says "Failure", or what we say
            assert "vmcore" in said or "No space left" in said
        else:
            assert "No space left on device" in said
        (dump,) = true_manifests(receiver)
        assert dump["verdict"] == "truncated"
        (file,) = dump["files"]
        stored = (disk / "spool" / dump["directory"] / file["name"]).read_bytes()
        assert is_beginning(stored, stream)


def test_a_dump_beyond_the_limit_is_stopped(tmp_path: Path, stream: bytes) -> None:
    """`max_dump_bytes`: the client is told, what came is kept."""
    with Receiver(tmp_path, 'max_dump_bytes = "1M"') as receiver:
        client = Client.enrolled(receiver, "web01")
        done = client.ssh("dd bs=512 of='/c/h-1/vmcore'", stdin=stream, check=False)
        assert done.returncode == 1
        assert b"dd: error writing '/c/h-1/vmcore'" in done.stderr
        (dump,) = true_manifests(receiver)
        assert dump["verdict"] == "truncated"
        assert 0 < dump["files"][0]["bytes"] <= 1 << 20


def test_no_room_is_said_before_the_first_byte(tmp_path: Path) -> None:
    """`keep_free`: refused when it begins, so that the client can go elsewhere; nothing is left behind."""
    with Receiver(tmp_path) as receiver:
        receiver.stop()
        receiver.config.write_text(receiver.config.read_text().replace("keep_free = 0", 'keep_free = "1P"'))
        receiver.start()
        client = Client.enrolled(receiver, "web01")
        for command in ("mkdir -p /c/h-1", "dd bs=512 of='/c/h-1/vmcore'"):
            done = client.ssh(command, stdin=b"x", check=False)
            assert done.returncode == 1
            assert b"No space left on device" in done.stderr
        assert receiver.dumps() == []


def test_a_locked_catalogue_stops_no_dump(
    receiver: Receiver, client: Client, stream: bytes, image: bytes
) -> None:
    """The client gets its 0; the dump is listed as soon as the catalogue can be written again."""
    lock = sqlite3.connect(receiver.root / ".state" / "catalogue.sqlite", isolation_level=None)
    lock.execute("begin immediate")
    try:
        done = client.ssh("dd bs=512 of='/c/h-1/vmcore'", stdin=stream)
        assert done.returncode == 0
    finally:
        lock.execute("rollback")
        lock.close()
    dump = receiver.dump()
    assert dump["verdict"] == "complete"
    assert dump["files"][0]["sha256"] == hashlib.sha256(image).hexdigest()


def test_a_lost_catalogue_is_made_anew(receiver: Receiver, client: Client, stream: bytes) -> None:
    """The spool is the truth: by `rebuild`, and by a start."""
    client.ssh("dd bs=512 of='/c/h-1/vmcore'", stdin=stream)
    for _ in until("the report is written"):
        if any(entry["what"] == "reported" for entry in receiver.dump()["history"]):
            break
    before = receiver.dump()
    receiver.stop()
    for again in (lambda: receiver.cli("rebuild"), receiver.start):
        for path in (receiver.root / ".state").glob("catalogue.sqlite*"):
            path.unlink()
        assert receiver.dumps() == []
        again()
        for _ in until("the dump is listed again"):
            if receiver.dumps() == [before]:
                break


def test_a_manifest_deleted_by_hand_is_made_anew(
    receiver: Receiver, client: Client, stream: bytes, image: bytes
) -> None:
    """Also while an upload is under way: that one still ends well."""
    client.ssh("dd bs=512 of='/c/h-1/README.txt'", stdin=b"hello\n")
    slow = Slow(client, "dd bs=512 of='/c/h-1/vmcore'")
    slow.send(stream[:100_000])
    slow.wait_for(50_000)
    (receiver.root / "h-1" / "manifest.json").unlink()
    slow.send(stream[100_000:])
    assert slow.end()[0] == 0
    dump = receiver.dump()
    assert (dump["host"], dump["verdict"]) == ("web01", "complete")
    receiver.stop()
    (receiver.root / "h-1" / "manifest.json").unlink()
    receiver.start()
    for _ in until("the dump is adopted"):
        dump = receiver.dump()
        if dump["host"] == "unknown":
            break
    assert dump["verdict"] == "complete"
    assert {file["name"]: file["bytes"] for file in dump["files"]} == {
        "README.txt": 6,
        "vmcore": len(image),
    }


def test_a_broken_manifest_stops_no_other_dump(receiver: Receiver, client: Client, stream: bytes) -> None:
    """The next crash of the same minute begins a dump of its own; the next start mends the broken one."""
    client.ssh("dd bs=512 of='/c/h-1/vmcore'", stdin=stream)
    for _ in until("the report is written"):
        if any(entry["what"] == "reported" for entry in receiver.dump()["history"]):
            break
    (receiver.root / "h-1" / "manifest.json").write_text("{")
    assert client.ssh("ls -l /c/h-1/vmcore", check=False).returncode == 1
    client.ssh("dd bs=512 of='/c/h-1/vmcore'", stdin=stream)
    receiver.stop()
    receiver.start()
    for _ in until("both are listed"):
        dumps = receiver.dumps()
        if [dump["host"] for dump in dumps if dump["verdict"] == "complete"].count("unknown") == 1:
            break
    assert {dump["directory"] for dump in dumps} == {"h-1", "h-1@web01"}
    true_manifests(receiver)


def test_two_servers_on_one_spool_serve_one_host_in_turn(
    receiver: Receiver, client: Client, tmp_path: Path, stream: bytes, image: bytes
) -> None:
    """mkdir here, dd there, ls while it grows, mv here: no process keeps a client's state to itself."""
    place = tmp_path / "second"
    place.mkdir()
    second = Receiver(place)
    second.config.write_text(receiver.config.read_text())
    second.root = receiver.root
    with second:
        other = Client(second, client.home, client.key)
        client.ssh("mkdir -p /c/h-1")
        assert other.ssh("mkdir /c/h-1", check=False).returncode == 1
        slow = Slow(other, "dd bs=512 of='/c/h-1/vmcore-incomplete'")
        slow.send(stream[:1_000_000])
        slow.wait_for(900_000)
        assert b"vmcore-incomplete" in client.ssh("ls -l /c/h-1/vmcore-incomplete").stdout
        assert receiver.dump()["verdict"] == "receiving"
        receiver.kill()  # the next start must leave the living one's upload alone
        receiver.start()
        slow.send(stream[1_000_000:])
        assert slow.end()[0] == 0
        client.ssh("mv /c/h-1/vmcore-incomplete /c/h-1/vmcore")
        other.ssh("cat > /c/h-1/vmcore-creation.status", stdin=b"success\n")
        fetched = tmp_path / "status"
        assert client.scp(":/c/h-1/vmcore-creation.status", fetched).returncode == 0
        assert fetched.read_bytes() == b"success\n"
    (dump,) = true_manifests(receiver)
    assert dump["verdict"] == "complete"
    assert hash_of(receiver.file()) == hashlib.sha256(image).hexdigest()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid: int) -> bool:
    """Whether the process is there, and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_worker_is_replaced_and_what_it_received_is_kept(tmp_path: Path, stream: bytes) -> None:
    """kill -9 of one of two, and then of both: the socket stays, clients come again, uploads are tidied."""
    with Receiver(tmp_path, "workers = 2\ngrace_seconds = 1") as receiver:
        client = Client.enrolled(receiver, "web01")
        slow = Slow(client, "dd bs=512 of='/c/h-1/vmcore-incomplete'")
        slow.send(stream[:500_000])
        slow.wait_for(400_000)
        before = children(receiver.pid)
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert slow.end()[0] != 0
        dump = tidied(receiver)
        assert dump["verdict"] == "truncated"
        for _ in until("two new workers"):
            now = children(receiver.pid)
            if len(now) == 2 and not set(now) & set(before):
                break
        assert client.ssh("dd bs=512 of='/c/h-1/vmcore-incomplete'", stdin=stream).returncode == 0
        assert receiver.dump()["verdict"] == "complete"
        workers = children(receiver.pid)
        assert receiver.stop() == 0
        assert not any(runs(pid) for pid in workers)


def test_workers_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    """The address is free at once for the next start."""
    with Receiver(tmp_path, "workers = 2") as receiver:
        client = Client.enrolled(receiver, "web01")
        workers = children(receiver.pid)
        receiver.kill()
        for _ in until("the workers end"):
            if not any(runs(pid) for pid in workers):
                break
        receiver.start()
        assert client.ssh("df -P /").returncode == 0
