"""What runs in the capture kernel does what kdump.conf says, step by step.

The real scripts run under dash, on a plan compiled from a kdump.conf. PATH holds nothing but fakes
and a few harmless programs: what ends a machine, mounts or loads is never the real one. The fake ssh
runs the server's side of each command in a directory of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sender.capture import HERE
from sender.conf.model import read_text
from sender.image.build import scripts
from sender.image.plan import Facts, Mount, compile_plan

HARMLESS = (
    *("cat", "chmod", "cp", "cut", "date", "dd", "echo", "false", "gzip", "grep", "head", "kill", "ln", "ls"),
    *(
        "mkdir",
        "mkfifo",
        "mv",
        "printf",
        "rm",
        "sed",
        "seq",
        "sh",
        "sleep",
        "sort",
        "tail",
        "touch",
        "tr",
        "true",
    ),
    *("wc", "zstd"),
)
CORE = bytes(range(256)) * 64

FAKES = {
    "ssh": """
for last; do :; done
[ "$1" = -Q ] && { printf 'aes128-ctr\\naes128-gcm@openssh.com\\nchacha20-poly1305@openssh.com\\n'; exit; }
echo "$*" >> $LOG.ssh
case " $* " in *" -O exit "*) exit;; esac
echo "ssh $last" >> $LOG
[ ! -e $HOME/ssh.fails ] || { echo "ssh: connect: No route to host" >&2; exit 255; }
[ ! -e $HOME/ssh.hangs ] || case $last in *vmcore-incomplete*) exec sleep 60;; esac
exec sh -c "$last"
""",
    "scp": """
for last; do :; done
echo "scp $last" >> $LOG
for w; do before=$from; from=$w; done
cp "$before" "${last#*:}"
""",
    "makedumpfile": """
echo "makedumpfile $*" >> $LOG
[ "$1" = --dump-dmesg ] && { echo "Kernel panic - not syncing: fake" > "$3"; exit; }
[ ! -e $HOME/makedumpfile.fails ] || { head -c 100 "$HOME/root/proc/vmcore"; exit 1; }
for last; do :; done
case " $* " in *" -F "*) cat "$last";; *) cat "$HOME/root/proc/vmcore" > "$last";; esac
""",
    "cp.sparse": "",
    "ip": 'echo "$3 via 10.0.0.1 dev e src 192.0.2.5 uid 0"\n',
    "timeout": """
while :; do case $1 in -k) shift 2;; [0-9]*) shift; break;; *) break;; esac; done
exec "$@"
""",
    "dmesg": "echo '[    1.0] log of the capture kernel'\n",
    "mount": """
echo "mount $*" >> $LOG
[ ! -e $HOME/mount.fails ] || exit 32
for last; do :; done
""",
    "umount": 'echo "umount $*" >> $LOG\n',
    "fsck.ext4": 'echo "fsck $*" >> $LOG; exit ${FSCK:-0}\n',
    "sync": "echo sync >> $LOG.sync\n",
    "blockdev": "",
    "setsid": 'echo "shell" >> $LOG\n',
    "fence_kdump_send": 'echo "fence $*" >> $LOG.fence\n',
    "busybox": "exit 1\n",
    **{word: f'echo "{word} $*" >> $LOG; kill -9 $PPID\n' for word in ("reboot", "halt", "poweroff")},
}


class Kernel:
    """A pretended capture kernel in a directory."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.root = top / "root"
        self.remote = top / "remote"
        self.bin = top / "bin"
        for path in (self.root / "proc", self.root / "dev/disk/by-uuid", self.remote, self.bin):
            path.mkdir(parents=True)
        for name in ("uptime", "cpuinfo", "meminfo"):
            (self.root / "proc" / name).symlink_to(f"/proc/{name}")
        (self.root / "proc/slabinfo").write_text("slabinfo - version: 2.1\n")
        (self.root / "proc/vmcore").write_bytes(CORE)
        for name in HARMLESS:
            found = shutil.which(name)
            if found:
                (self.bin / name).symlink_to(found)
        for name, text in FAKES.items():
            self.program(name, text)
        self.log = top / "log"
        self.log.touch()

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)

    def run(
        self,
        conf: str,
        *words: str,
        facts: Facts | None = None,
        patch: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Compile the plan and run capture.sh to the machine's end."""
        reading = read_text(conf.replace("{remote}", str(self.remote)))
        assert reading.config is not None, reading.problems
        facts = facts or Facts(hostname="web01")
        for entry in compile_plan(reading.config, facts, scripts()).entries:
            path = self.root / entry.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.data)
        plan = self.root / "etc/kdump-net/plan"
        plan.write_text(plan.read_text() + "".join(f"{k}={v}\n" for k, v in (patch or {}).items()))
        return subprocess.run(
            ["/bin/dash", str(HERE / "capture.sh"), *words],
            env={
                "PATH": str(self.bin),
                "HOME": str(self.top),
                "LOG": str(self.log),
                "KDUMP_ROOT": str(self.root),
                "KDUMP_LIB": str(HERE),
                "KDUMP_DATE": "2026-11-23-03:44:18",
                "KDUMP_TICK": "0.05",
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def steps(self) -> list[str]:
        return self.log.read_text().replace(str(self.remote), "R").splitlines()

    def files(self) -> dict[str, bytes]:
        return {
            str(p.relative_to(self.remote)): p.read_bytes() for p in self.remote.rglob("*") if p.is_file()
        }


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    yield Kernel(tmp_path)
    # the cluster is told until the machine is gone, which here it never is
    teller = tmp_path / "root/run/kdump-net/fence.pid"
    with suppress(OSError, ValueError):
        pid = int(teller.read_text())
        if str(tmp_path).encode() in Path(f"/proc/{pid}/environ").read_bytes():
            os.kill(pid, signal.SIGKILL)


SSH = "ssh kdump@server\npath {remote}\nssh_compress none\n"
DIR = "192.0.2.5-2026-11-23-03:44:18"


def test_an_ssh_dump_is_the_commands_of_kdump_utils_in_their_order(kernel: Kernel) -> None:
    """Log first, the core under an incomplete name until it is there, our own log last, then reboot."""
    done = kernel.run(SSH)
    d = f"R/{DIR}"
    steps = kernel.steps
    # the collector and the server begin at the same time
    assert sorted(steps[4:6]) == [
        f"makedumpfile -F -l --message-level 1 -d 31 {kernel.root}/proc/vmcore",
        f"ssh umask 0077 && dd bs=512 of='{d}/vmcore-incomplete'",
    ], done.stderr
    assert steps[:4] + steps[6:] == [
        f"ssh mkdir -p {d}",
        f"makedumpfile --dump-dmesg {kernel.root}/proc/vmcore {kernel.root}/run/kdump-net/dmesg",
        f"ssh umask 0077 && dd of='{d}/vmcore-dmesg-incomplete.txt'",
        f"ssh mv '{d}/vmcore-dmesg-incomplete.txt' '{d}/vmcore-dmesg.txt'",
        f"ssh mv '{d}/vmcore-incomplete' '{d}/vmcore.flat'",
        f"scp kdump@server:{d}/",
        "reboot -f",
    ]
    files = kernel.files()
    assert files[f"{DIR}/vmcore.flat"] == CORE
    assert set(files) == {f"{DIR}/{n}" for n in ("vmcore.flat", "vmcore-dmesg.txt", "kexec-dmesg.log")}


def test_the_server_must_be_the_pinned_one(kernel: Kernel) -> None:
    """No question, no other known_hosts, only the plan's key."""
    kernel.run(SSH.replace("@server", "@server:2222"))
    options = kernel.log.with_suffix(".ssh").read_text().splitlines()[0]
    for word in (
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={kernel.root}/etc/kdump-net/known_hosts",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=20",
        "ServerAliveInterval=15",
        "-p 2222",
        "-l kdump server",
        "-i /etc/kdump-net/key",
    ):
        assert word in options


def test_a_cipher_the_processor_computes_comes_first(kernel: Kernel) -> None:
    """AES where there are instructions for it, else chacha20."""
    (kernel.root / "proc/cpuinfo").unlink()
    (kernel.root / "proc/cpuinfo").write_text("processor : 0\nflags : fpu aes\n")
    kernel.run(SSH)
    assert "Ciphers=aes128-gcm@openssh.com," in kernel.log.with_suffix(".ssh").read_text()
    (kernel.root / "proc/cpuinfo").write_text("processor : 0\nflags : fpu\n")
    kernel.run(SSH)
    assert "Ciphers=chacha20" in kernel.log.with_suffix(".ssh").read_text()


def test_the_cluster_is_told_before_anything_is_sent(kernel: Kernel) -> None:
    """By the C sender where the image has it, with the resolved addresses and the arguments of the file."""
    facts = Facts(addresses={"node1": "192.0.2.11"}, fence_program=f"{kernel.bin}/fence_kdump_send")
    done = kernel.run(
        SSH + "fence_kdump_nodes node1 192.0.2.12\nfence_kdump_args -p 7410 -i 5\n", facts=facts
    )
    assert kernel.log.with_suffix(".fence").read_text() == "fence -p 7410 -i 5 192.0.2.11 192.0.2.12\n"
    assert done.stdout.index("telling 192.0.2.11") < done.stdout.index("saving to")


def test_a_collector_that_dies_behind_the_pipe_is_no_success(kernel: Kernel) -> None:
    """POSIX sh sees only ssh's status; the truncated stream must keep its incomplete name."""
    (kernel.top / "makedumpfile.fails").touch()
    done = kernel.run(SSH)
    assert "the collector failed (1)" in done.stderr
    assert f"{DIR}/vmcore-incomplete" in kernel.files()
    assert f"{DIR}/vmcore.flat" not in kernel.files()
    assert "no dump was saved" in done.stdout


def test_a_silent_server_never_hangs_the_machine(kernel: Kernel) -> None:
    """The upload is ended after stall_timeout, and the failure action comes."""
    (kernel.top / "ssh.hangs").touch()
    begin = time.monotonic()
    done = kernel.run(SSH, patch={"STALL_TIMEOUT": "2"})
    assert time.monotonic() - begin < 20
    assert "nothing has moved for 2 s" in done.stderr
    assert kernel.steps[-1] == "reboot -f"


def test_an_unreachable_server_is_tried_until_net_timeout(kernel: Kernel) -> None:
    """The reason is said once, then comes the next place, then the failure action."""
    (kernel.top / "ssh.fails").touch()
    done = kernel.run(SSH, patch={"NET_TIMEOUT": "3"})
    assert len([s for s in kernel.steps if "mkdir" in s]) >= 2
    assert done.stderr.count("No route to host") == 1
    assert "place 1 (kdump@server) cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("conf", "ends"),
    [
        ("", "reboot -f"),
        ("failure_action halt", "halt -f"),
        ("failure_action poweroff", "poweroff -f"),
        ("default poweroff", "poweroff -f"),
        ("failure_action reboot\nfinal_action poweroff", "reboot -f"),
        ("failure_action shell\nfinal_action poweroff", "poweroff -f"),
    ],
)
def test_what_comes_when_nothing_was_saved(kernel: Kernel, conf: str, ends: str) -> None:
    """Each failure action; a shell goes on to the final action."""
    (kernel.top / "ssh.fails").touch()
    (kernel.root / "dev/console").touch()
    kernel.run(SSH + conf, patch={"NET_TIMEOUT": "0"})
    assert kernel.steps[-1] == ends
    assert ("shell" in kernel.steps) == ("shell" in conf)


@pytest.mark.parametrize(
    ("conf", "ends"),
    [
        ("", "reboot -f"),
        ("final_action poweroff", "poweroff -f"),
        ("default halt", "halt -f"),
        ("failure_action halt", "reboot -f"),
    ],
)
def test_what_comes_after_a_saved_dump(kernel: Kernel, conf: str, ends: str) -> None:
    """RHEL 6's default speaks of success, too; failure_action does not."""
    kernel.run(SSH + conf)
    assert kernel.steps[-1] == ends


def test_a_pre_script_that_says_no_means_no_dump(kernel: Kernel) -> None:
    """Not even a connection is made."""
    kernel.program("pre", "exit 3\n")
    kernel.run(SSH + f"kdump_pre {kernel.bin}/pre\nfinal_action poweroff")
    assert kernel.steps == ["poweroff -f"]


@pytest.mark.parametrize(("fails", "status"), [(False, "0"), (True, "1")])
def test_the_post_script_is_told_how_it_went(kernel: Kernel, fails: bool, status: str) -> None:
    """Argument 1 is the status, VMCORE the place of the dump."""
    kernel.program("post", 'echo "post $1 $VMCORE" >> $LOG\nexit 7\n')
    if fails:
        (kernel.top / "ssh.fails").touch()
    kernel.run(SSH + f"kdump_post {kernel.bin}/post", patch={"NET_TIMEOUT": "0"})
    told = [s for s in kernel.steps if s.startswith("post")]
    assert told == [f"post {status} " + ("" if fails else f"R/{DIR}")]
    assert kernel.steps[-1] == "reboot -f"


def test_the_emergency_program_runs_before_the_failure_action(kernel: Kernel) -> None:
    """kdump_emergency of kdump-utils 2026."""
    (kernel.top / "ssh.fails").touch()
    kernel.program("emergency", "echo emergency >> $LOG\n")
    kernel.run(SSH + f"kdump_emergency {kernel.bin}/emergency", patch={"NET_TIMEOUT": "0"})
    assert kernel.steps[-2:] == ["emergency", "reboot -f"]


def test_extra_modules_are_loaded_before_anything_is_tried(kernel: Kernel) -> None:
    """dracut holds them back until udev has settled; on a slow machine that is too late."""
    kernel.program("modprobe", 'echo "modprobe $*" >> $LOG\n[ $2 != dlm ]\n')
    done = kernel.run(SSH + "extra_modules gfs2 dlm")
    assert kernel.steps[:2] == ["modprobe -q gfs2", "modprobe -q dlm"]
    assert "the module dlm was not loaded" in done.stderr
    assert kernel.steps[-1] == "reboot -f"


def test_link_delay_waits_before_the_first_connection(kernel: Kernel) -> None:
    """A spanning tree that does not forward yet."""
    begin = time.monotonic()
    done = kernel.run(SSH + "link_delay 1")
    assert time.monotonic() - begin >= 1
    assert done.stdout.index("link_delay: 1 s") < done.stdout.index("saving to")


def test_scp_is_given_the_core_itself(kernel: Kernel) -> None:
    """No makedumpfile for the core, the plain name at the end."""
    kernel.run(SSH + "core_collector scp")
    assert kernel.files()[f"{DIR}/vmcore"] == CORE
    assert not [s for s in kernel.steps if s.startswith("makedumpfile -") and "dmesg" not in s]


def test_with_several_processors_the_stream_is_compressed_by_all_of_them(kernel: Kernel) -> None:
    """makedumpfile refuses threads with -F, zstd behind it does not."""
    (kernel.root / "proc/cpuinfo").unlink()
    (kernel.root / "proc/cpuinfo").write_text("processor : 0\nprocessor : 1\nprocessor : 2\n")
    kernel.program("zstd", 'echo "zstd $*" >> $LOG\nexec cat\n')
    kernel.run(SSH.replace("none", "auto"))
    assert "zstd -q -1 -T3" in kernel.steps
    assert kernel.files()[f"{DIR}/vmcore.flat.zst"] == CORE


def test_a_compressor_that_dies_is_no_success(kernel: Kernel) -> None:
    """Its status counts like the collector's."""
    kernel.program("zstd", "exit 1\n")
    done = kernel.run(SSH.replace("none", "zstd"))
    assert f"{DIR}/vmcore.flat.zst" not in kernel.files()
    assert "no dump was saved" in done.stdout


def disk(kernel: Kernel, conf: str = "ext4 UUID=1\npath /crash\n") -> str:
    """A target that is there: the fake mount leaves the mount point a plain directory."""
    (kernel.root / "dev/disk/by-uuid/1").touch()
    return conf


def mounted(kernel: Kernel) -> dict[str, bytes]:
    top = kernel.root / "run/kdump-net/mnt"
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def test_a_disk_is_checked_mounted_filled_and_let_go(kernel: Kernel) -> None:
    """The directory is named 127.0.0.1 as every client names it; makedumpfile writes the file itself."""
    kernel.run(disk(kernel))
    where = f"{kernel.root}/dev/disk/by-uuid/1"
    assert [s.split()[0] for s in kernel.steps] == [
        "fsck",
        "mount",
        "makedumpfile",
        "makedumpfile",
        "umount",
        "reboot",
    ]
    assert f"mount -t ext4 -o rw {where} {kernel.root}/run/kdump-net/mnt" in kernel.steps
    files = mounted(kernel)
    assert files["crash/127.0.0.1-2026-11-23-03:44:18/vmcore"] == CORE
    assert set(files) == {
        f"crash/127.0.0.1-2026-11-23-03:44:18/{n}" for n in ("vmcore", "vmcore-dmesg.txt", "kexec-dmesg.log")
    }


def test_a_disk_that_never_comes_is_waited_for_disk_timeout(kernel: Kernel) -> None:
    """Then the next place is tried."""
    done = kernel.run(
        "ext4 UUID=2\npath {remote}\ndisk_timeout 2\nfallback ssh kdump@server\nssh_compress none"
    )
    assert "UUID=2 did not appear in 2 s" in done.stderr
    assert f"{DIR}/vmcore.flat" in kernel.files()


def test_a_file_system_beyond_repair_is_not_mounted(kernel: Kernel) -> None:
    """fsck's 4: RHEL 6 went to the default action."""
    kernel.program("fsck.ext4", "exit 4\n")
    done = kernel.run(disk(kernel))
    assert "fsck of UUID=1 found what it could not mend (4)" in done.stderr
    assert not [s for s in kernel.steps if s.startswith("mount")]


def test_the_local_fallback_remembers_where_the_dump_should_have_gone(kernel: Kernel) -> None:
    """`kdump deliver` reads it at the next boot."""
    (kernel.top / "ssh.fails").touch()
    facts = Facts(mounts={"/var/crash": Mount("UUID=1", "ext4", "/crash")})
    kernel.run(disk(kernel, SSH + "fallback local /var/crash\n"), facts=facts, patch={"NET_TIMEOUT": "0"})
    files = mounted(kernel)
    assert files["crash/127.0.0.1-2026-11-23-03:44:18/undelivered"] == b"1\n"
    assert files["crash/127.0.0.1-2026-11-23-03:44:18/vmcore"] == CORE


def test_an_nfs_export_is_mounted_softly_and_named_by_our_address(kernel: Kernel) -> None:
    """A hard mount would hang for ever on a server that went away."""
    kernel.run("nfs filer:/export\npath /crash", facts=Facts(addresses={"filer": "192.0.2.9"}))
    (mount,) = [s for s in kernel.steps if s.startswith("mount")]
    assert mount.startswith("mount -t nfs -o rw,nolock,soft,")
    assert " 192.0.2.9:/export " in mount
    assert f"crash/{DIR}/vmcore" in mounted(kernel)


def test_a_raw_partition_gets_the_flattened_stream(kernel: Kernel) -> None:
    """And nothing else: it holds no names."""
    target = kernel.root / "dev/vda"
    target.touch()
    kernel.run("raw /dev/vda\n")
    assert target.read_bytes() == CORE
    assert any(s.startswith("makedumpfile -F ") for s in kernel.steps)


def test_dump_to_rootfs_is_the_last_resort(kernel: Kernel) -> None:
    """The root file system is mounted and takes the dump without -F."""
    (kernel.top / "ssh.fails").touch()
    (kernel.root / "dev/vdz").touch()
    facts = Facts(root=Mount("/dev/vdz", "ext4", "/", "rw"))
    kernel.run(
        "ssh kdump@server\npath /var/crash\nfailure_action dump_to_rootfs",
        facts=facts,
        patch={"NET_TIMEOUT": "0"},
    )
    saved = kernel.root / "sysroot/var/crash/127.0.0.1-2026-11-23-03:44:18/vmcore"
    assert saved.read_bytes() == CORE
    assert kernel.steps[-1] == "reboot -f"


def test_mount_root_run_init_hands_the_machine_to_its_own_init(kernel: Kernel) -> None:
    """Status 42 tells the hook to let dracut go on."""
    (kernel.top / "ssh.fails").touch()
    (kernel.root / "dev/vdz").touch()
    facts = Facts(root=Mount("/dev/vdz", "ext4", "/", "rw"))
    done = kernel.run(SSH + "default mount_root_run_init", facts=facts, patch={"NET_TIMEOUT": "0"})
    assert done.returncode == 42
    assert any("/sysroot" in s for s in kernel.steps if s.startswith("mount"))
    assert "reboot -f" not in kernel.steps


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("/%HOST/%DATE", "192.0.2.5/2026-11-23-03:44:18"),
        ("/%DATE-%HOST", "2026-11-23-03:44:18-192.0.2.5"),
        ("/%HOST", f"192.0.2.5/{DIR}"),
        ("/a", f"a/{DIR}"),
    ],
)
def test_host_and_date_stand_where_path_wants_them(kernel: Kernel, path: str, directory: str) -> None:
    """Without a date of its own a path gets the usual directory beneath it, so two dumps never share one."""
    kernel.run("ssh kdump@server\nssh_compress none\npath {remote}" + path)
    assert f"{directory}/vmcore.flat" in kernel.files()


@pytest.mark.parametrize(
    ("level", "shows"), [(0, ()), (1, ("MemFree",)), (2, ("MemFree", "HugePages_Total")), (3, ("slabinfo",))]
)
def test_debug_mem_level_prints_memory(kernel: Kernel, level: int, shows: tuple[str, ...]) -> None:
    """More with each level, nothing at 0."""
    done = kernel.run(SSH + f"debug_mem_level {level}")
    assert ("memory at" in done.stdout) == (level > 0)
    assert all(word in done.stdout for word in shows)


def test_capture_timeout_ends_the_machine_whatever_hangs(kernel: Kernel) -> None:
    """The last net: it counts from the start, and comes before the upload's own limit."""
    (kernel.top / "ssh.hangs").touch()
    done = kernel.run(SSH + "capture_timeout 1", patch={"STALL_TIMEOUT": "4"})
    assert "capture_timeout of 1 s is over" in done.stderr
    assert done.stderr.index("capture_timeout") < done.stderr.index("nothing has moved")
    assert kernel.steps.count("reboot -f") == 2  # the fake ends only the process that called it


def test_a_delivery_sends_the_saved_files_under_the_crashs_own_date(kernel: Kernel) -> None:
    """From the running system, by the same script."""
    saved = kernel.top / "127.0.0.1-2026-01-02-03:04:05"
    saved.mkdir()
    (saved / "vmcore").write_bytes(CORE)
    (saved / "vmcore-dmesg.txt").write_text("log")
    os.environ["KDUMP_DIRECTORY"] = f"{kernel.remote}/%HOST-2026-01-02-03:04:05"
    try:
        done = kernel.run(
            SSH, "deliver", str(saved), "1", patch={"KDUMP_DIRECTORY": os.environ["KDUMP_DIRECTORY"]}
        )
    finally:
        del os.environ["KDUMP_DIRECTORY"]
    assert done.returncode == 0, done.stderr
    assert kernel.files()["192.0.2.5-2026-01-02-03:04:05/vmcore"] == CORE
    assert not any("reboot" in s for s in kernel.steps)


QUICK = """driver virtio_net
card enp0s2 52:54:00:12:34:56
link set enp0s2 up
address add 192.0.2.5/24 dev enp0s2
"""


def take_quick(kernel: Kernel, quick: str) -> subprocess.CompletedProcess[str]:
    (kernel.root / "etc/kdump-net").mkdir(parents=True)
    (kernel.root / "etc/kdump-net/quick").write_text(quick)
    (kernel.root / "run").mkdir()
    lib = kernel.top / "lib"
    lib.mkdir()
    shutil.copy(HERE / "wait.sh", lib)
    (lib / "save.sh").write_text("echo saving >> $LOG\n")
    card = kernel.root / "sys/class/net/eth0"
    card.mkdir(parents=True)
    (card / "address").write_text("52:54:00:12:34:56\n")
    kernel.program("modprobe", 'echo "modprobe $*" >> $LOG\n')
    link = f'[ "$4" = name ] && mkdir -p {card.parent}/$5 && echo 1 > {card.parent}/$5/carrier'
    kernel.program(
        "ip", f'echo "ip $*" >> $LOG\n{link}\n[ "$1" != -batch ] || ! grep -q refuse "$2" || exit 1\nexit 0\n'
    )
    return subprocess.run(
        ["/bin/dash", str(HERE / "quick.sh")],
        env={
            "PATH": str(kernel.bin),
            "LOG": str(kernel.log),
            "KDUMP_ROOT": str(kernel.root),
            "KDUMP_LIB": str(lib),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_short_way_needs_no_udev(kernel: Kernel) -> None:
    """Driver, card by its address, name, addresses, and the dump is saved at once."""
    done = take_quick(kernel, QUICK)
    batch = f"{kernel.root}/run/kdump-net-batch"
    assert kernel.steps == [
        "modprobe -q virtio_net",
        "ip link set eth0 name enp0s2",
        "ip link set lo up",
        f"ip -batch {batch}",
        "saving",
    ], done.stderr
    assert Path(batch).read_text() == "link set enp0s2 up\naddress add 192.0.2.5/24 dev enp0s2\n"


def test_where_the_short_way_fails_it_is_undone(kernel: Kernel) -> None:
    """dracut goes its own way with clean cards."""
    done = take_quick(kernel, QUICK + "refuse\n")
    assert "saving" not in kernel.steps
    assert kernel.steps[-2:] == ["ip address flush dev enp0s2", "ip link set enp0s2 down"]
    assert "udev is asked" in done.stderr
    assert done.returncode == 0


def test_how_much_of_the_core_is_sent_stands_on_the_console(kernel: Kernel) -> None:
    """Of a core that is sent as it is the whole is known, too."""
    kernel.program("scp", "for last; do :; done\nhead -c 8192 /dev/zero > /dev/null\nsleep 2\n")
    done = kernel.run(SSH + "core_collector scp", env={"KDUMP_PROGRESS_SECONDS": "1"})
    assert " of 16 KiB (" in done.stdout
    assert "/s" in done.stdout


def test_the_scripts_are_clean() -> None:
    """shellcheck finds nothing, in any of them."""
    own = [str(p) for p in HERE.glob("*.sh")]
    module = [str(p) for p in (HERE / "99kdump-net").glob("*.sh")]
    plain = [p for p in (*own, *module) if not p.endswith("module-setup.sh")]
    subprocess.run(["shellcheck", "-x", "-P", str(HERE.parent.parent), "-s", "sh", *plain], check=True)
    subprocess.run(["shellcheck", "-s", "bash", str(HERE / "99kdump-net/module-setup.sh")], check=True)


def test_nothing_here_names_a_real_end_of_the_machine() -> None:
    """The tests' own safety: every dangerous word is a fake in their PATH."""
    assert {"reboot", "halt", "poweroff", "busybox", "mount", "umount"} <= set(FAKES)
    assert not set(HARMLESS) & {"systemctl", "kexec", "dracut", "sysctl", "init", "telinit", "shutdown"}
    assert replace(Facts(), hostname="x").hostname == "x"
