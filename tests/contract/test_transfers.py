"""scp, sftp and lftp as people and scripts use them, and what the command line then says of the dump."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rig.machine import Machine
from tests.rig.sample import Sample

Host = Callable[..., Machine]
Whole = Callable[..., dict[str, Any]]

D = "/var/crash/10.0.1.7-2024-04-02-11:22:33"


@pytest.mark.parametrize("protocol", ["-O", "-s"])
@pytest.mark.parametrize("flags", ["", "-p", "-C", "-v", "-q -l 100000"])
def test_scp_with_any_flags(host: Host, sample: Sample, protocol: str, flags: str) -> None:
    """Exit status 0 after a good upload, whichever protocol this scp speaks."""
    machine = host("scp")
    machine.sh(f"scp {protocol} {flags} $STREAM $T:{D}/vmcore", STREAM=sample.stream)
    assert machine.dump()["verdict"] == "complete"


@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_scp_of_a_whole_directory(host: Host, sample: Sample, whole: Whole, protocol: str) -> None:
    """`scp -r` of a local dump, as an admin brings one by hand."""
    machine = host("scp-r")
    local = machine.home / "10.0.1.7-2024-04-02-11:22:33"
    local.mkdir()
    (local / "vmcore").write_bytes(sample.rearranged.read_bytes())
    (local / "vmcore-dmesg.txt").write_text("panic\n")
    (local / "kexec-dmesg.log").write_text("")
    machine.sh(f"ssh $T mkdir -p /var/crash; scp {protocol} -r {local} $T:/var/crash/")
    dump = machine.dump()
    assert dump["verdict"] == "complete"
    assert dump["directory"].startswith(local.name)
    assert {file["requested"][-1] for file in dump["files"]} == {
        "vmcore",
        "vmcore-dmesg.txt",
        "kexec-dmesg.log",
    }


@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_scp_of_several_files(host: Host, protocol: str) -> None:
    """Into one directory, in one connection."""
    machine = host("scp-many")
    for name in ("a.txt", "b.txt", "c.txt"):
        (machine.home / name).write_text(name)
    machine.sh(f"ssh $T mkdir -p {D}; scp {protocol} a.txt b.txt c.txt $T:{D}/")
    assert [file["name"] for file in machine.dump()["files"]] == ["a.txt", "b.txt", "c.txt"]


@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_scp_says_what_it_cannot_do(host: Host, sample: Sample, protocol: str) -> None:
    """A file that is used as a directory: scp exits 1 and prints the server's words; nothing is stored."""
    machine = host("scp-odd")
    machine.ssh(f"cat > {D}/file", stdin=b"text", check=True)
    done = machine.sh(f"scp {protocol} $STREAM $T:{D}/file/vmcore", check=False, STREAM=sample.stream)
    assert done.returncode == 1
    assert done.stderr
    assert [file["name"] for file in machine.dump()["files"]] == ["file"]


def test_sftp_batch(host: Host, sample: Sample, whole: Whole) -> None:
    """A script of sftp commands: directory, upload, rename, and the free space."""
    machine = host("sftp")
    (machine.home / "batch").write_text(
        f"mkdir {D}\ncd {D}\nput {sample.stream} vmcore-incomplete\nrename vmcore-incomplete vmcore.flat\n"
        f"put {machine.home}/batch vmcore-dmesg.txt\nchmod 644 vmcore.flat\ndf\n"
    )
    done = machine.sh("sftp -b batch $T")
    whole(machine, "kdump-utils|rhel7", "vmcore-dmesg.txt")
    assert "%Capacity" in done.stdout


@pytest.mark.parametrize("options", ["", "-R 1", "-R 256 -B 4096", "-B 262000"])
def test_sftp_with_any_number_of_requests(host: Host, sample: Sample, options: str) -> None:
    """Requests under way and their size are the client's choice."""
    machine = host("sftp-window")
    (machine.home / "batch").write_text(f"mkdir {D}\nput {sample.stream} {D}/vmcore\n")
    machine.sh(f"sftp {options} -b batch $T")
    assert machine.dump()["verdict"] == "complete"


def test_sftp_does_not_append_to_what_is_stored(host: Host, sample: Sample) -> None:
    """`reput` asks how much is there and goes on from that byte: a stored file takes no more bytes."""
    machine = host("sftp-resume")
    half = machine.home / "vmcore"
    half.write_bytes(sample.stream.read_bytes()[:2_000_000])
    machine.sh(f"ssh $T mkdir -p {D}; scp -s vmcore $T:{D}/vmcore")
    half.write_bytes(sample.stream.read_bytes())
    (machine.home / "batch").write_text(f"reput vmcore {D}/vmcore\n")
    machine.sh("sftp -b batch $T", check=False)
    stored = machine.directory() / "vmcore.incomplete"
    assert machine.dump()["files"][0]["wire_bytes"] == 2_000_000
    assert stored.stat().st_size > 0
    (machine.home / "batch").write_text(f"put vmcore {D}/vmcore\n")
    machine.sh("sftp -b batch $T")
    assert machine.dump()["verdict"] == "complete"


def test_the_command_line_tells_it_all(host: Host, sample: Sample) -> None:
    """`list`, `info` and `verify` of a dump that a real client sent, as people and programs read them."""
    machine = host("face")
    machine.sh(
        f"""
        ssh $T mkdir -p {D}
        cat $STREAM | ssh $T "umask 0077 && dd bs=512 of='{D}/vmcore-incomplete'"
        ssh $T "mv '{D}/vmcore-incomplete' '{D}/vmcore.flat'"
        """,
        STREAM=sample.stream,
    )
    cli = machine.receiver.cli
    (listed,) = json.loads(cli("list", "--json", "--host", machine.name).stdout)
    assert listed["host"] == machine.name
    assert listed["client"] == "kdump-utils"
    assert listed["verdict"] == "complete"
    assert listed["kernel_release"] == sample.osrelease
    assert len(listed["build_id"]) == 40
    assert listed["crash_time"].endswith("Z")
    (core,) = listed["files"]
    assert (core["name"], core["kind"], core["verdict"]) == ("vmcore", "flattened", "complete")
    assert (core["bytes"], core["sha256"]) == (sample.rearranged.stat().st_size, sample.sha256)
    assert core["wire_bytes"] == sample.stream.stat().st_size
    told = cli("info", listed["id"]).stdout
    for word in (machine.name, "kdump-utils", "complete", sample.osrelease, listed["build_id"], D):
        assert word in told
    verified = cli("verify", "--deep", listed["id"])
    assert "every one decompresses" in verified.stdout


def test_dd_tells_what_dd_tells(host: Host, sample: Sample) -> None:
    """The three lines on the capture kernel's console are coreutils' own, rates aside."""
    machine = host("dd")
    local = machine.sh("dd bs=512 of=local < $STREAM", STREAM=sample.stream).stderr.splitlines()
    remote = machine.sh(f"ssh $T dd bs=512 of={D}/vmcore < $STREAM", STREAM=sample.stream).stderr.splitlines()
    assert remote[:2] == local[:2]
    assert remote[2].split(" copied")[0] == local[2].split(" copied")[0]


@pytest.mark.parametrize("tool", ["dd of={}", "cat > {}"])
def test_an_empty_upload_is_kept_as_what_it_is(host: Host, tool: str) -> None:
    """makedumpfile died before its first byte: an empty, truncated core, and no crash of ours."""
    machine = host("empty")
    machine.ssh(tool.format(f"{D}/vmcore-incomplete"), check=True)
    (core,) = machine.dump()["files"]
    assert (core["name"], core["bytes"], core["verdict"]) == ("vmcore.incomplete", 0, "truncated")


def test_every_kind_of_core(host: Host, shared: Path, tmp_path: Path) -> None:
    """lzo, uncompressed, a flattened ELF with overlapping records: each as `makedumpfile -R` makes it."""
    machine = host("kinds")
    variants = shared / "vmcores" / "variants"
    for name in ("vmcore.lzo.flat", "vmcore.uncompressed.flat.gz", "vmcore.elf.flat.gz"):
        stream = tmp_path / name
        stream.write_bytes((variants / name).read_bytes())
        if name.endswith(".gz"):
            subprocess.run(["gunzip", stream], check=True, timeout=60)
            stream = stream.with_suffix("")
        machine.sh(f"ssh $T dd of=/var/crash/{name}/vmcore < $STREAM", STREAM=stream)
        rearranged = tmp_path / "rearranged"
        with stream.open("rb") as flat:
            command = ["makedumpfile", "-R", str(rearranged)]
            subprocess.run(command, stdin=flat, check=True, capture_output=True, timeout=60)
        stored = next(dump for dump in machine.dumps() if dump["requested"].endswith(name))
        assert stored["verdict"] == "complete"
        directory = machine.receiver.root / stored["directory"]
        assert subprocess.run(["cmp", rearranged, directory / "vmcore"]).returncode == 0
        rearranged.unlink()
