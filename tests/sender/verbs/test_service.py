"""start, stop, status, restart: the words, the codes, and never a machine left worse than it was."""

from __future__ import annotations

import threading

import pytest

from sender.failure import ConfError, NotPossible
from sender.host import Host
from sender.verbs import service
from tests.sender.conftest import VERSION, Fake

OK = "[  OK  ]"


def line(text: str, verdict: str = OK) -> str:
    return f"{text:<59}{verdict}\n"


def test_start_builds_loads_and_says_so(fake: Fake) -> None:
    """The words of RHEL 6, and what is new told beside them."""
    assert service.start(fake.session) == 0
    assert fake.said.endswith(line("Starting kdump:"))
    assert "there is no image yet" in fake.said
    assert fake.loaded()
    (load,) = [c for c in fake.calls if c.startswith("kexec")]
    image = f"{fake.root}/var/lib/kdump/initrd-{VERSION}.img"
    assert load.startswith("kexec -s -p --command-line=console=ttyS0 ")
    assert load.endswith(f" --initrd={image} {fake.root}/boot/vmlinuz-{VERSION}")
    assert (fake.top / "syslog").read_text().splitlines() == ["kexec: loaded kdump kernel", "started up"]


def test_the_image_holds_a_key_and_is_roots_alone(fake: Fake) -> None:
    """CVE-2011-3589."""
    service.start(fake.session)
    image = fake.root / f"var/lib/kdump/initrd-{VERSION}.img"
    assert image.stat().st_mode & 0o777 == 0o600
    data = image.read_bytes()
    assert data.startswith(b"BASE")
    assert data[512:518] == b"070701"


def test_starting_twice_is_said_and_is_no_failure(fake: Fake) -> None:
    """The seed's line, exit status 0, nothing is called."""
    service.start(fake.session)
    fake.quiet()
    assert service.start(fake.session) == 0
    assert fake.said == line("Kdump already running")
    assert fake.said == "Kdump already running                                      [  OK  ]\n"
    assert fake.calls == []


def test_stop_and_status_speak_the_seeds_words(fake: Fake) -> None:
    """Status 3 is LSB's "not running"."""
    service.start(fake.session)
    assert service.status(fake.session) == 0
    fake.quiet()
    assert service.stop(fake.session) == 0
    assert fake.said == "Stopping kdump:                                            [  OK  ]\n"
    assert fake.calls == ["kexec -p -u"]
    assert service.status(fake.session) == 3
    assert fake.said.endswith("Kdump is not operational\n")


def test_a_kernel_without_kexec_is_told(fake: Fake) -> None:
    """Status 3, and start fails with the reason."""
    (fake.root / "sys/kernel/kexec_crash_loaded").unlink()
    assert service.status(fake.session) == 3
    assert fake.said == "Kdump is unsupported on this kernel\n"
    assert service.start(fake.session) == NotPossible.exit_code
    assert "Kdump is not supported on this kernel" in fake.warned


def test_nothing_reserved_is_told_with_what_to_add(fake: Fake) -> None:
    """And the line ends with FAILED."""
    fake.put("/sys/kernel/kexec_crash_size", "0")
    fake.put("/proc/cmdline", "root=/dev/vda1")
    assert service.start(fake.session) == 1
    assert "No memory reserved for crash kernel: add crashkernel=" in fake.warned
    assert fake.said == line("Starting kdump:", "[FAILED]")


def test_nothing_is_rebuilt_where_nothing_changed(fake: Fake) -> None:
    """A second start after a stop only loads."""
    service.start(fake.session)
    service.stop(fake.session)
    fake.quiet()
    service.start(fake.session)
    assert [c.split()[0] for c in fake.calls] == ["kexec"]
    assert fake.said == line("Starting kdump:")


@pytest.mark.parametrize(
    ("change", "reason", "dracut"),
    [
        ("path /var/crash\nlink_delay 5\n", "kdump.conf changed", False),
        ("path /var/crash\nfinal_action poweroff\n", "kdump.conf changed", False),
        ("path /var/crash\nextra_modules gfs2\n", "kernel modules in kdump.conf changed", True),
        ("path /var/crash\nextra_bins /bin/ls\n", "the programs wanted changed", True),
        ("ext4 /dev/vdb1\n", "devices of the targets changed", True),
        ("path /var/crash\nforce_rebuild 1\n", "force_rebuild is set", True),
        ("path /var/crash\nblacklist nouveau\n", "options and blacklist of kdump.conf changed", False),
    ],
)
def test_what_changed_is_said_and_only_that_is_rebuilt(
    fake: Fake, change: str, reason: str, dracut: bool
) -> None:
    """dracut runs for programs, drivers and devices; the rest is a matter of milliseconds."""
    fake.put("/bin/ls", "ls", 0o755)
    fake.put("/dev/vdb1")
    service.start(fake.session)
    service.stop(fake.session)
    fake.quiet()
    fake.conf(change)
    assert service.start(fake.session) == 0
    assert reason in fake.said
    assert any(c.startswith("dracut") for c in fake.calls) == dracut


def test_force_no_rebuild_keeps_the_slow_part(fake: Fake) -> None:
    """An operator who ships images by hand."""
    service.start(fake.session)
    service.stop(fake.session)
    fake.quiet()
    fake.conf("path /var/crash\nextra_modules gfs2\nforce_no_rebuild 1\n")
    assert service.start(fake.session) == 0
    assert not any(c.startswith("dracut") for c in fake.calls)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("path crash\n", "'crash' is not an absolute path"),
        ("kdump_post /nope.sh\n", "/etc/kdump.conf:1: /nope.sh not executable or not found"),
        ("extra_bins /nope\n", "/etc/kdump.conf:1: /nope is not there"),
        ("ssh kdump@server\n", "there is no such key; run `kdump propagate`"),
        ("core_collector nosuchprogram -x\n", "nosuchprogram is not installed"),
        ("ext4 UUID=nope\n", "/etc/kdump.conf:1: Bad mount point UUID=nope: there is no such device"),
        ("kernel_version 9.9.9\n", "no kernel image for 9.9.9"),
        ("fence_kdump_nodes self\n", "Option fence_kdump_nodes cannot contain self"),
    ],
)
def test_bad_input_leaves_the_loaded_kernel_loaded(fake: Fake, broken: str, words: str) -> None:
    """restart checks before it unloads anything."""
    service.start(fake.session)
    fake.quiet()
    fake.conf(broken)
    assert service.restart(fake.session) != 0
    assert words in fake.warned
    assert fake.loaded()
    assert not any(c.startswith("kexec") for c in fake.calls)


def test_bad_input_ends_with_78(fake: Fake) -> None:
    """EX_CONFIG."""
    fake.conf("foo\n")
    assert service.start(fake.session) == ConfError.exit_code == 78


def test_a_failing_dracut_keeps_the_old_image(fake: Fake) -> None:
    """Its last words are shown."""
    service.start(fake.session)
    image = fake.root / f"var/lib/kdump/initrd-{VERSION}.img"
    before = image.read_bytes()
    fake.quiet()
    fake.touch("dracut.fails")
    fake.conf("path /var/crash\nextra_modules gfs2\n")
    assert service.restart(fake.session) == 1
    assert "dracut: no space left" in fake.warned
    assert image.read_bytes() == before
    assert fake.loaded()
    assert not list((fake.root / "var/lib/kdump").glob("kdump-dracut-*"))


def test_the_older_call_is_tried_and_the_reason_told(fake: Fake) -> None:
    """A kernel whose signature is not known, without secure boot."""
    fake.touch("file-load.fails")
    assert service.start(fake.session) == 0
    assert "failed (255): kexec_file_load failed: Required key not available" in fake.warned
    assert [c.split()[1] for c in fake.calls if c.startswith("kexec")] == ["-s", "-c"]


def test_secure_boot_has_no_second_way(fake: Fake) -> None:
    """And unloads by the same call."""
    guid = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
    for name, value in (("SecureBoot", b"\6\0\0\0\1"), ("SetupMode", b"\6\0\0\0\0")):
        fake.put(f"/sys/firmware/efi/efivars/{name}-{guid}").write_bytes(value)
    fake.touch("file-load.fails")
    assert service.start(fake.session) == 1
    assert fake.said.endswith(line("Starting kdump:", "[FAILED]"))
    assert [c.split()[1] for c in fake.calls if c.startswith("kexec")] == ["-s"]


def test_restart_says_both_lines(fake: Fake) -> None:
    """And starts even where stopping failed, as RHEL 6 did."""
    service.start(fake.session)
    fake.quiet()
    fake.touch("unload.fails")
    assert service.restart(fake.session) == 0
    assert fake.said == line("Stopping kdump:", "[FAILED]") + line("Starting kdump:")


def test_dracut_gets_our_module_without_a_write_into_usr(fake: Fake) -> None:
    """A directory of links, ours among them; no configuration of the host's own dracut."""
    fake.put("/root/.ssh/kdump_id_rsa", "KEY", 0o600)
    service.start(fake.session)
    (call,) = [c for c in fake.calls if c.startswith("dracut")]
    assert "--conf /dev/null" in call
    assert "--modules kdump-net" in call
    assert f"--add-device {fake.root}/dev/disk/by-uuid/u-1" in call
    assert "99kdump-net" in (fake.top / "modules").read_text()
    assert {"module lvm", "program makedumpfile", "driver ext4"} <= set(
        (fake.top / "needs").read_text().splitlines()
    )


def test_a_path_on_memory_is_refused(fake: Fake) -> None:
    """A dump on tmpfs is gone with the reboot it caused."""
    fake.touch("tmpfs")
    assert service.start(fake.session) == 1
    assert "/var/crash lies on tmpfs, which a reboot empties" in fake.warned


def test_two_of_us_do_not_meet(fake: Fake) -> None:
    """One at a time; the other is told who to look for."""
    with (
        fake.session.host.lock(),
        pytest.raises(NotPossible, match="another kdump has held"),
        fake.session.host.lock(0.3),
    ):
        pass


def test_at_boot_a_net_target_is_waited_for(fake: Fake) -> None:
    """The name resolves a second later: nothing is warned of, and no unit had to order it."""
    fake.conf("fence_kdump_nodes node1\npath /var/crash\n")
    hosts = fake.top / "hosts"
    text = hosts.read_text()
    hosts.write_text("")
    timer = threading.Timer(1.2, lambda: hosts.write_text(text))
    timer.start()
    assert service.start(fake.session) == 0
    timer.join()
    assert "does not resolve" not in fake.warned


def test_a_root_that_a_capture_kernel_started_saves_the_dump(fake: Fake) -> None:
    """mount_root_run_init: the init script finds /proc/vmcore, saves it and reboots."""
    fake.put("/proc/vmcore", "memory")
    assert service.start(fake.session) == 0
    (saved,) = (fake.root / "var/crash").glob("127.0.0.1-*/vmcore")
    assert saved.read_text() == "core\n"
    assert fake.calls[-1] == "reboot -f"
    assert not any(c.startswith("kexec") for c in fake.calls)


def test_a_dump_on_a_raw_partition_becomes_a_file(fake: Fake) -> None:
    """At the next start; its head is wiped so that it is not found twice."""
    raw = fake.put("/dev/vdb")
    raw.write_bytes(b"makedumpfile\0\0\0\0" + b"x" * 5000)
    fake.conf("raw /dev/vdb\npath /var/crash\n")
    assert service.start(fake.session) == 0
    assert list((fake.root / "var/crash").glob("*/vmcore"))
    assert raw.read_bytes()[:512] == b"\0" * 512
    fake.quiet()
    service.stop(fake.session)
    service.start(fake.session)
    assert "Dump saved" not in fake.said


def test_a_raw_partition_that_is_not_there_is_told(fake: Fake) -> None:
    """RHEL's words."""
    fake.conf("raw /dev/vdz\n")
    assert service.start(fake.session) == 1
    assert "Bad raw partition /dev/vdz" in fake.warned


def test_another_machine_is_only_a_matter_of_facts(fake: Fake) -> None:
    """i386 gets its ELF header flag."""
    fake.put("/proc/iomem", "00000000-bfffffff : System RAM\n")
    session = type(fake.session)(Host(fake.root, "i686", VERSION), "/etc/kdump.conf", fake.out, fake.err)
    assert service.start(session) == 0
    assert any("kexec --elf32-core-headers -p" in c for c in fake.calls)
