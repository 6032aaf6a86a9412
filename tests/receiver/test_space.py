"""Real clients and a small disk: what they hear when there is no room, and what went to make some."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.rig.receiver import SECONDS, Client, Receiver
from tests.rig.small import SmallDisk, may_mount

MB = 1 << 20
DATA = os.urandom(MB)
PANIC = b"""[    0.000000] Linux version 6.1.0-test (x@y) #1 SMP
[   12.000000] BUG: kernel NULL pointer dereference, address: 0000000000000010
[   12.000001] #PF: supervisor read access in kernel mode
[   12.000002] Oops: 0000 [#1] SMP PTI
[   12.000003] CPU: 0 PID: 7 Comm: kworker Not tainted 6.1.0-test #1
[   12.000004] RIP: 0010:frob_widget+0x12/0x40 [widget]
[   12.000005] Call Trace:
[   12.000006]  <TASK>
[   12.000007]  widget_poll+0x33/0x90 [widget]
[   12.000008]  process_one_work+0x1e5/0x3b0
[   12.000009]  </TASK>
[   12.000010] Kernel panic - not syncing: Fatal exception
"""

needs_mounts = pytest.mark.skipif(not may_mount(), reason="no mount namespace of our own: run it as root")


def until(what: str, seconds: float = SECONDS) -> Iterator[None]:
    """Look again and again, for a while; then it is a failure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


def dd(client: Client, path: str, size: int) -> subprocess.CompletedProcess[bytes]:
    """What kdump-utils does with a core."""
    data = (DATA * (size // MB + 1))[:size]
    return client.ssh(f"umask 0077 && dd bs=512 of='{path}'", stdin=data, check=False)


def file_of(client: Client, size: int) -> Path:
    path = client.home / f"{size}"
    path.write_bytes((DATA * (size // MB + 1))[:size])
    return path


def sftp(client: Client, line: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sftp", *client.options, "-P", str(client.receiver.port), "-b", "-", client.target]
    return subprocess.run(command, input=f"{line}\n".encode(), capture_output=True, timeout=SECONDS)


def log_lines(receiver: Receiver, name: str) -> list[str]:
    return [line for line in receiver.log.read_text().splitlines() if f" {name} " in line]


def by_directory(receiver: Receiver) -> dict[str, dict[str, Any]]:
    return {dump["directory"]: dump for dump in receiver.dumps()}


def cores(receiver: Receiver) -> set[str]:
    """The directories that still hold a core."""
    found = by_directory(receiver)
    return {name for name, dump in found.items() if any(file["core"] for file in dump["files"])}


def taken(receiver: SmallDisk) -> int:
    """Bytes that the disk gave to dumps."""
    dumps = [path for path in receiver.disk.iterdir() if not path.name.startswith(".")]
    return sum(path.lstat().st_blocks * 512 for dump in dumps for path in dump.iterdir())


@needs_mounts
def test_every_client_hears_of_a_full_quota_in_its_own_words(tmp_path: Path) -> None:
    """dd, cat, both scp, sftp: status and text; the other host goes on; df says how much is left."""
    with SmallDisk(tmp_path, "[quota]\nweb01 = '12M'\n[retention]\nevict = false") as receiver:
        web01, web02 = (Client.enrolled(receiver, name) for name in ("web01", "web02"))
        assert dd(web01, "/c/h-1/vmcore", 9 * MB).returncode == 0
        left = int(web01.ssh("df -P /c").stdout.split()[-3]) * 1024
        assert 2 * MB < left < 3 * MB
        assert int(web01.ssh("df --output=avail /c").stdout.split()[-1]) * 1024 == left

        done = dd(web01, "/c/h-2/vmcore", 5 * MB)
        assert done.returncode == 1
        assert done.stderr == b"dd: error writing '/c/h-2/vmcore': Disk quota exceeded\n"
        done = web01.ssh("cat > '/c/h-2/vmcore'", stdin=DATA * 5, check=False)
        assert (done.returncode, done.stderr) == (1, b"cat: write error: Disk quota exceeded\n")
        big = file_of(web01, 5 * MB)
        old = web01.scp(big, ":/c/h-2/vmcore", "-O")
        assert old.returncode == 1
        assert b"scp: /c/h-2/vmcore: Disk quota exceeded" in old.stderr
        new = web01.scp(big, ":/c/h-2/vmcore")
        assert new.returncode == 1
        assert b'dest open "/c/h-2/vmcore": Failure' in new.stderr  # all that SFTP 3 can say
        done = sftp(web01, f"put {big} /c/h-2/vmcore")
        assert done.returncode == 1
        assert b'dest open "/c/h-2/vmcore": Failure' in done.stderr

        # What fits is taken, by each of them; a declared size counts as it is.
        small = file_of(web01, 1 * MB)
        assert web01.scp(small, ":/c/h-3/vmcore", "-O").returncode == 0
        assert dd(web02, "/c/x-1/vmcore", 9 * MB).returncode == 0
        assert set(by_directory(receiver)) == {"h-1", "h-3", "x-1"}
        refused = log_lines(receiver, "upload.refused")
        assert len(refused) == 5
        assert all("the quota of web01 (12582912 bytes) leaves" in line for line in refused)


@needs_mounts
def test_a_full_disk_is_told_before_the_first_byte_and_is_no_end(tmp_path: Path) -> None:
    """Somebody else fills it: "No space left on device" from mkdir on; when it is free again all goes on."""
    with SmallDisk(tmp_path, "[retention]\nevict = false", size="48m") as receiver:
        client = Client.enrolled(receiver, "web01")
        assert dd(client, "/c/h-1/vmcore", 4 * MB).returncode == 0
        filler = receiver.disk / ".filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], capture_output=True, timeout=SECONDS)
        assert client.ssh("df -P /c").stdout.split()[-3] == b"0"
        done = client.ssh("mkdir -p /c/h-2", check=False)
        said = b"mkdir: cannot create directory '/c/h-2': No space left on device\n"
        assert (done.returncode, done.stderr) == (1, said)
        done = dd(client, "/c/h-2/vmcore", 4 * MB)
        assert done.returncode == 1
        assert done.stderr == b"dd: error writing '/c/h-2/vmcore': No space left on device\n"
        scp = client.scp(file_of(client, MB), ":/c/h-2/vmcore", "-O")
        assert b"No space left on device" in scp.stderr
        filler.unlink()
        assert dd(client, "/c/h-2/vmcore", 4 * MB).returncode == 0
        assert set(by_directory(receiver)) == {"h-1", "h-2"}


@needs_mounts
def test_a_limit_that_is_reached_while_a_core_streams_keeps_what_came(tmp_path: Path) -> None:
    """The size was not known: dd hears it, and the part is stored and marked."""
    with SmallDisk(tmp_path, "max_use = '10%'") as receiver:
        client = Client.enrolled(receiver, "web01")
        done = dd(client, "/c/h-1/vmcore", 20 * MB)
        assert done.returncode == 1
        assert done.stderr.endswith(b"dd: error writing '/c/h-1/vmcore': No space left on device\n")
        (dump,) = receiver.dumps()
        assert dump["verdict"] == "truncated"
        (file,) = dump["files"]
        assert 3 * MB < file["bytes"] <= int(6.4 * MB)
        assert file["broken"] == "No space left on device"


@needs_mounts
def test_the_oldest_cores_give_way_and_their_logs_stay(tmp_path: Path) -> None:
    """A disk of 64 MB takes a dump after the other; pinned ones and the last of each host stay."""
    with SmallDisk(tmp_path, "max_use = '50%'") as receiver:
        web01, web02 = (Client.enrolled(receiver, name) for name in ("web01", "web02"))
        assert dd(web02, "/c/x-1/vmcore", 6 * MB).returncode == 0
        for number in range(1, 7):
            client = web01
            client.ssh(f"dd bs=512 of='/c/h-{number}/vmcore-dmesg.txt'", stdin=PANIC)
            assert dd(client, f"/c/h-{number}/vmcore-incomplete", 6 * MB).returncode == 0
            assert client.ssh(f"mv /c/h-{number}/vmcore-incomplete /c/h-{number}/vmcore").returncode == 0
            if number == 2:
                receiver.cli("pin", "h-2", "--note", "for the vendor")
        left = cores(receiver)
        assert {"x-1", "h-2", "h-6"} <= left
        assert "h-3" not in left
        found = by_directory(receiver)
        assert found["h-2"]["pinned"]["note"] == "for the vendor"
        gone = found["h-3"]
        assert [file["name"] for file in gone["files"]] == ["vmcore-dmesg.txt"]
        assert gone["title"]
        shown = receiver.cli("info", "h-3").stdout
        assert "Removed: vmcore" in shown
        assert "by the server: the oldest that may go, and max_use has no room" in shown
        assert "Kernel panic" in receiver.cli("log", "h-3").stdout
        assert receiver.cli("verify", "h-3").returncode == 0
        assert "core removed" in receiver.cli("list").stdout
        assert len(json.loads(receiver.cli("groups", "--json").stdout)[0]["dumps"]) == 6
        rebuilt = json.loads(receiver.cli("rebuild", "--json").stdout)
        assert rebuilt == {"dumps": 7}
        assert by_directory(receiver) == found
        use = json.loads(receiver.cli("space", "--json").stdout)
        assert use["bytes"] <= use["max_use"] == 32 * MB
        assert use["pinned"] == 1
        assert use["bytes"] == taken(receiver)


@needs_mounts
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_many_at_once_never_overrun_the_limit(tmp_path: Path, workers: int) -> None:
    """Eighteen uploads, a few processes: what is stored never exceeds max_use, and old cores made room."""
    settings = f"max_use = '40M'\nworkers = {workers}"
    with SmallDisk(tmp_path, settings, size="80m") as receiver:
        clients = [Client.enrolled(receiver, f"web{number:02}") for number in range(4)]
        for client in clients:
            assert dd(client, "/c/old/vmcore", 4 * MB).returncode == 0
            assert dd(client, "/c/older/vmcore", 4 * MB).returncode == 0
        before = cores(receiver)
        with ThreadPoolExecutor(6) as pool:
            jobs = [
                pool.submit(dd, clients[number % 4], f"/c/new-{number}/vmcore", 3 * MB)
                for number in range(18)
            ]
            statuses = [job.result().returncode for job in jobs]
        assert taken(receiver) <= 40 * MB
        assert set(statuses) <= {0, 1}
        assert statuses.count(0) >= 5
        gone = before - cores(receiver)
        assert gone
        for _ in until("the ledger says what the disk says"):
            use = json.loads(receiver.cli("space", "--json").stdout)
            if (use["bytes"], use["reserved"]) == (taken(receiver), 0):
                break


def test_a_storm_keeps_the_first_cores_and_every_log(tmp_path: Path) -> None:
    """One core an hour of each group: the next is refused when its log came first, and else dropped."""
    settings = "[retention]\nstorm_cores = 1\nstorm_window = '1h'"
    with Receiver(tmp_path, settings) as receiver:
        clients = [Client.enrolled(receiver, f"web{number}") for number in range(3)]

        def log_of(number: int) -> None:
            clients[number].ssh(f"dd bs=512 of='/c/h-{number}/vmcore-dmesg.txt'", stdin=PANIC)
            for _ in until("the log is read"):
                if by_directory(receiver)[f"h-{number}"]["signature"]:
                    return

        log_of(0)
        assert dd(clients[0], "/c/h-0/vmcore", MB).returncode == 0
        log_of(1)
        done = dd(clients[1], "/c/h-1/vmcore", MB)
        assert done.returncode == 1
        assert b"Disk quota exceeded" in done.stderr
        assert dd(clients[2], "/c/h-2/vmcore-incomplete", MB).returncode == 0
        log_of(2)
        for _ in until("the core of a storm is dropped"):
            if cores(receiver) == {"h-0"}:
                break
        assert clients[2].ssh("mv /c/h-2/vmcore-incomplete /c/h-2/vmcore").returncode == 0
        found = by_directory(receiver)
        assert len({dump["signature"] for dump in found.values()}) == 1
        assert all((receiver.root / name / "report.txt").exists() for name in found)
        assert "a storm: 1 core of its group came within 1 hour" in found["h-2"]["removed"][0]["why"]
        assert "a storm" in log_lines(receiver, "upload.refused")[0]
        assert "a storm" in log_lines(receiver, "dump.pruned")[0]


def test_the_server_prunes_by_itself_and_prune_says_why(tmp_path: Path) -> None:
    """A rule on a timer; --dry-run explains every dump and changes nothing."""
    with Receiver(tmp_path) as receiver:
        client = Client.enrolled(receiver, "web01")
        for number in range(1, 5):
            client.ssh(f"dd bs=512 of='/c/h-{number}/README.txt'", stdin=b"x\n")
            assert dd(client, f"/c/h-{number}/vmcore", MB).returncode == 0
        text = receiver.config.read_text() + "\nprune_seconds = 1\n[retention]\ncores_per_host = 2\n"
        receiver.config.write_text(text)
        receiver.cli("pin", "h-1")
        said = json.loads(receiver.cli("prune", "--dry-run", "--json").stdout)
        assert [(choice["choice"], choice["reason"].partition(" ")[0]) for choice in said["choices"]] == [
            ("keep", "pinned"),
            ("drop core", "web01"),
            ("keep", "no"),
            ("keep", "the"),
        ]
        shown = receiver.cli("prune", "--dry-run").stdout
        assert "1 core and 0 whole dumps would give 1.0M; 3 dumps as before." in shown
        assert cores(receiver) == {"h-1", "h-2", "h-3", "h-4"}
        receiver.stop()
        receiver.start()
        for _ in until("the server prunes"):
            if cores(receiver) == {"h-1", "h-3", "h-4"}:
                break
        (line,) = log_lines(receiver, "dump.pruned")
        assert "directory=h-2 what=core" in line
        receiver.cli("unpin", "h-1")
        done = receiver.cli("prune")
        assert "1 core and 0 whole dumps gave 1.0M." in done.stdout or cores(receiver) == {"h-3", "h-4"}
        assert cores(receiver) == {"h-3", "h-4"}
        assert "dump.pruned" in receiver.cli("events", "--json").stdout
