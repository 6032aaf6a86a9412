"""The other half of the directive table: each word again, seen in what the scripts and `kdump start` do.

tests/sender/test_directives.py says what of a word goes into the image; here the real scripts run on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from sender.conf.options import OPTIONS
from sender.image.plan import Facts, Mount
from sender.verbs import service, show
from tests.sender.capture.test_capture import Kernel, kernel  # noqa: F401  # a fixture
from tests.sender.conftest import Fake

SSH = "ssh kdump@server\npath {remote}\nssh_compress none\n"
AWAY = {"NET_TIMEOUT": "0"}  # with ssh.fails: nobody takes the dump
FACTS = Facts(
    hostname="web01",
    addresses={"server": "192.0.2.9", "node1": "192.0.2.11"},
    mounts={"/keep": Mount("UUID=1", "ext4", "/kept")},
    root=Mount("UUID=1", "ext4", "/"),
)


@dataclass(frozen=True)
class Run:
    """A kdump.conf and what must be seen in the commands that ran, or on the console; ``away``: no server."""

    conf: str
    seen: tuple[str, ...]
    never: str = ""
    away: bool = False


CAPTURE = {
    "path": Run("ssh kdump@server\nssh_compress none\npath {remote}/deep", ("ssh mkdir -p R/deep/",)),
    "core_collector": Run(
        SSH + "core_collector makedumpfile -c -d 17", ("makedumpfile -F -c -d 17",), never="-d 31"
    ),
    "raw": Run("raw /dev/vdb", ("makedumpfile -F ", "saving to /dev/vdb"), never="mount"),
    "nfs": Run("nfs server:/x", ("mount -t nfs -o rw,nolock,soft", "192.0.2.9:/x")),
    "nfs4": Run("nfs4 server:/x", ("mount -t nfs4 ", "vers=4")),
    "net": Run("net kdump@server\nssh_compress none\npath {remote}", ("ssh mkdir -p R/",)),
    "ssh": Run(SSH, ("ssh umask 0077 && dd bs=512 of=", "vmcore.flat'")),
    **{
        kind: Run(f"{kind} UUID=1\npath /c", (f"mount -t {kind} -o rw ", "by-uuid/1"))
        for kind in ("ext2", "ext3", "ext4", "xfs", "btrfs", "minix")
    },
    "virtiofs": Run("virtiofs myfs\npath /c", ("mount -t virtiofs -o rw myfs ",), never="waiting for"),
    "fallback": Run(
        SSH + "fallback local /keep", ("place 1 (kdump@server) cannot be reached", "mount -t ext4"), away=True
    ),
    "disk_timeout": Run("ext4 UUID=9\ndisk_timeout 0", ("UUID=9 did not appear in 0 s",)),
    "link_delay": Run(SSH + "link_delay 1", ("link_delay: 1 s",)),
    "kdump_post": Run(SSH + "kdump_post {bin}/script", ("script 0",)),
    "kdump_pre": Run(SSH + "kdump_pre {bin}/refuses", ("refuses", "no dump", "reboot -f"), never="ssh mkdir"),
    "kdump_emergency": Run(SSH + "kdump_emergency {bin}/script", ("script ", "failure_action is"), away=True),
    "default": Run(SSH + "default halt", ("halt -f",), never="reboot"),
    "failure_action": Run(SSH + "failure_action poweroff", ("poweroff -f",), never="reboot", away=True),
    "final_action": Run(SSH + "final_action poweroff", ("poweroff -f",), never="reboot"),
    "debug_mem_level": Run(SSH + "debug_mem_level 1", ("memory at the start", "MemFree")),
    "fence_kdump_args": Run(
        SSH + "fence_kdump_nodes node1\nfence_kdump_args -p 7411 -i 3", ("fence -p 7411 -i 3 192.0.2.11",)
    ),
    "fence_kdump_nodes": Run(SSH + "fence_kdump_nodes node1", ("telling 192.0.2.11 that we are dumping",)),
    "ssh_compress": Run(SSH.replace("none", "gzip"), ("vmcore.flat.gz'",)),
    "net_timeout": Run(SSH + "net_timeout 5", ("deadline 5 ssh",)),
    "stall_timeout": Run(SSH + "stall_timeout 5", ("saving vmcore complete",), never="nothing has moved"),
    "capture_timeout": Run(SSH + "capture_timeout 3600", ("sleep 3600",)),
    # these two are modprobe's and the kernel's to obey: tests/sender/test_directives.py
    "options": Run(SSH + "options e1000 copybreak=0", ("saving vmcore complete",)),
    "blacklist": Run(SSH + "blacklist nouveau", ("saving vmcore complete",)),
}


def test_no_word_of_the_capture_kernel_is_without_a_run() -> None:
    """A new word that acts there is run here."""
    assert set(CAPTURE) == {option.name for option in OPTIONS if option.used == "capture"}


@pytest.mark.parametrize("name", CAPTURE)
def test_the_capture_kernel_obeys(kernel: Kernel, name: str) -> None:  # noqa: F811  # the fixture
    """In the commands that ran, and in what it says."""
    run = CAPTURE[name]
    if run.away:
        (kernel.top / "ssh.fails").touch()
    for device in ("vdb", "disk/by-uuid/1"):
        (kernel.root / "dev" / device).touch()
    for program, text in {
        "script": 'echo "script $1" >> $LOG\n',
        "refuses": "echo refuses >> $LOG; exit 1\n",
        "timeout": 'echo "deadline $3 $4" >> $LOG; shift 3; exec "$@"\n',
        "sleep": 'echo "sleep $1" >> $LOG; exec /bin/sleep 0.1\n',
        "fsck.btrfs": "",
    }.items():
        kernel.program(program, text)
    conf = run.conf.replace("{bin}", str(kernel.bin))
    facts = replace(FACTS, fence_program=str(kernel.bin / "fence_kdump_send"))
    done = kernel.run(conf, facts=facts, patch=AWAY if run.away else {})
    told = kernel.log.with_suffix(".fence")
    seen = "\n".join([*kernel.steps, done.stdout, done.stderr, told.read_text() if told.exists() else ""])
    for words in run.seen:
        assert words in seen, seen
    if run.never:
        assert run.never not in seen, seen


def dracut_call(fake: Fake) -> str:
    return next((call for call in fake.calls if call.startswith("dracut")), "")


def again(fake: Fake, conf: str) -> None:
    """Started, stopped, and started with another kdump.conf."""
    service.start(fake.session)
    service.stop(fake.session)
    fake.quiet()
    fake.conf(conf)
    assert service.start(fake.session) == 0


def _dracut_args(fake: Fake) -> None:
    again(fake, 'dracut_args --add "iscsi fcoe"\n')
    assert "--add iscsi fcoe " in dracut_call(fake)


def _force_rebuild(fake: Fake) -> None:
    fake.conf("force_rebuild 1\n")
    again(fake, "force_rebuild 1\n")
    assert dracut_call(fake)


def _force_no_rebuild(fake: Fake) -> None:
    again(fake, "force_no_rebuild 1\nextra_modules gfs2\n")
    assert not dracut_call(fake)


def _kernel_version(fake: Fake) -> None:
    fake.put("/boot/vmlinuz-6.9.9-other", "kernel")
    again(fake, "kernel_version 6.9.9-other\n")
    assert "--kver 6.9.9-other" in dracut_call(fake)
    assert "/boot/vmlinuz-6.9.9-other" in fake.calls[-1]


def _auto_reset_crashkernel(fake: Fake) -> None:
    fake.conf("auto_reset_crashkernel no\n")
    show.show(fake.session, as_json=True)
    assert json.loads(fake.said)["config"]["auto_reset_crashkernel"] == "no"


def _extra_bins(fake: Fake) -> None:
    again(fake, "extra_bins strace\n")
    assert "program strace" in (fake.top / "needs").read_text()


def _extra_modules(fake: Fake) -> None:
    again(fake, "extra_modules gfs2\n")
    assert "driver gfs2" in (fake.top / "needs").read_text()


def _sshkey(fake: Fake) -> None:
    fake.put("/root/.ssh/other", "SECRET", 0o600)
    fake.put("/root/.ssh/known_hosts", "server ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n")
    again(fake, "ssh kdump@server\nsshkey /root/.ssh/other\n")
    image = next((fake.root / "var/lib/kdump").glob("initrd-*"))
    assert b"SECRET" in image.read_bytes()


def _kexec_args(fake: Fake) -> None:
    again(fake, "kexec_args -d\n")
    assert " -d " in fake.calls[-1]


def _nr_cpus(fake: Fake) -> None:
    again(fake, "nr_cpus 3\n")
    assert "nr_cpus=3" in fake.calls[-1]


def _cmdline_remove(fake: Fake) -> None:
    again(fake, "cmdline_remove console\n")
    assert "console=" not in fake.calls[-1]


def _cmdline_append(fake: Fake) -> None:
    again(fake, "cmdline_append foo=1\n")
    assert "foo=1" in fake.calls[-1]


def _no_effect(word: str) -> Callable[[Fake], None]:
    def check(fake: Fake) -> None:
        service.start(fake.session)
        before = fake.calls[-1]
        service.stop(fake.session)
        fake.quiet()
        fake.conf(f"path /var/crash\n{word}\n")
        assert service.start(fake.session) == 0
        assert fake.calls[-1] == before

    return check


START: dict[str, Callable[[Fake], None]] = {
    "extra_bins": _extra_bins,
    "extra_modules": _extra_modules,
    "sshkey": _sshkey,
    "force_rebuild": _force_rebuild,
    "force_no_rebuild": _force_no_rebuild,
    "dracut_args": _dracut_args,
    "auto_reset_crashkernel": _auto_reset_crashkernel,
    "override_resettable": _no_effect("override_resettable 1"),
    "Kdump_not_supported_on_Xen_domU_guest": _no_effect("Kdump_not_supported_on_Xen_domU_guest"),
    "kernel_version": _kernel_version,
    "nr_cpus": _nr_cpus,
    "kexec_args": _kexec_args,
    "cmdline_remove": _cmdline_remove,
    "cmdline_append": _cmdline_append,
}


def test_no_word_of_the_start_is_without_a_check() -> None:
    """A new word that acts when the image is built or loaded is checked here."""
    assert set(START) == {option.name for option in OPTIONS if option.used != "capture"}


@pytest.mark.parametrize("name", START)
def test_the_start_obeys(fake: Fake, name: str) -> None:
    """In the calls of dracut and kexec."""
    START[name](fake)
