"""A real kernel crashes while its server is away: every failure action, and the fallback."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.guest import (
    CRASHES,
    DISK_DRIVERS,
    KNOWN_AT_PORT_1,
    PREPARE,
    START,
    UNREACHABLE,
    assert_rebooted,
    assert_vmcore_whole,
    blank_disk,
    from_disk,
    guest,
)
from tests.e2e.machine import copy_with_libraries
from tests.e2e.prebuilt import UUID
from tests.e2e.server import Sshd

pytestmark = CRASHES


@pytest.mark.parametrize(
    ("action", "end"),
    [("reboot", "Restarting system"), ("poweroff", "Power down"), ("halt", "System halted")],
)
def test_when_nobody_takes_the_dump_the_failure_action_comes(
    tmp_path: Path, server: Sshd, action: str, end: str
) -> None:
    """A closed port: given up after net_timeout, kdump_post told 1."""
    conf = UNREACHABLE + f"kdump_post /opt/kdump/post.sh\nfailure_action {action}\n"
    script = KNOWN_AT_PORT_1 + START
    run = guest(
        tmp_path,
        server,
        conf,
        script,
        scripts={"post.sh": '#!/bin/sh\necho "@@ post got $1"\n'},
        until=end,
        image="unreachable",
    )
    assert "@@ post got 1" in run.text, run.text[-3000:]
    assert f"failure_action is {action}" in run.text
    assert end in run.text


def test_a_shell_when_nobody_takes_the_dump(tmp_path: Path, server: Sshd) -> None:
    """failure_action shell: somebody at the console looks at the core; exit goes on to final_action."""
    run = guest(
        tmp_path,
        server,
        UNREACHABLE + "failure_action shell\nfinal_action poweroff\n",
        KNOWN_AT_PORT_1 + START,
        typed=[
            ("a shell; when it ends", ""),
            ("# ", "dd if=/proc/vmcore bs=4 count=1 2>/dev/null | grep -c ELF; echo @@$((40 + 2))"),
            ("@@42", "exit"),
        ],
        seconds=240,
    )
    assert "@@42" in run.text, run.text[-3000:]
    assert run.text.splitlines()[-1].startswith("["), run.text[-500:]
    assert "Power down" in run.text


def root_disk(path: Path, tree: Path) -> Path:
    """An ext4 that stands for the guest's own root: an init that says what it sees, and nothing else."""
    for name in ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "var"):
        (tree / name).mkdir(parents=True)
    copy_with_libraries(Path(shutil.which("busybox") or "/bin/busybox"), tree, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    (tree / "sbin/init").write_text(
        "#!/bin/sh\nexec > /dev/console 2>&1\n"
        "echo @@ init of the root, vmcore begins with $(/bin/busybox head -c 4 /proc/vmcore)\n"
        "/bin/busybox sync; /bin/busybox reboot -f\n"
    )
    (tree / "sbin/init").chmod(0o755)
    blank_disk(path, 512)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-U", UUID, "-d", str(tree), str(path)], check=True)
    return path


# the guest's real root is an overlay in memory; findmnt is told of the disk in its place
ROOT_IS_DISK = """
mkdir -p /opt/bin; cat > /opt/bin/findmnt <<END
#!/bin/sh
echo '{"filesystems":[{"source":"/dev/vda","fstype":"ext4","target":"/","uuid":"%s","fsroot":"/"}]}'
END
chmod 755 /opt/bin/findmnt; PATH=/opt/bin:$PATH
""".replace("%s", UUID)


def test_dump_to_rootfs_when_nobody_takes_it(tmp_path: Path, server: Sshd) -> None:
    """The root file system of the crashed system takes the dump, under path."""
    disk = root_disk(tmp_path / "disk", tmp_path / "tree")
    conf = UNREACHABLE + DISK_DRIVERS + "failure_action dump_to_rootfs\n"
    run = guest(tmp_path, server, conf, KNOWN_AT_PORT_1 + ROOT_IS_DISK + START, disks=[disk], image="rootfs")
    assert_rebooted(run)
    files = {path.name: path for path in from_disk(disk, "/var/crash", tmp_path / "out")}
    assert set(files) == {"vmcore", "vmcore-dmesg.txt", "kexec-dmesg.log"}, run.text[-3000:]
    assert files["vmcore"].parent.name.startswith("127.0.0.1-")
    assert_vmcore_whole(files["vmcore"], tmp_path)


def test_mount_root_run_init_when_nobody_takes_it(tmp_path: Path, server: Sshd) -> None:
    """The root file system's own init starts in the capture kernel and finds the core."""
    disk = root_disk(tmp_path / "disk", tmp_path / "tree")
    conf = UNREACHABLE + DISK_DRIVERS + "default mount_root_run_init\n"
    run = guest(tmp_path, server, conf, KNOWN_AT_PORT_1 + ROOT_IS_DISK + START, disks=[disk], image="rootfs")
    assert "@@ init of the root, vmcore begins with \x7fELF" in run.text, run.text[-3000:]
    assert_rebooted(run)


def test_a_dump_kept_locally_is_delivered_at_the_next_boot(tmp_path: Path, server: Sshd) -> None:
    """The server is away at the crash and back after the reboot."""
    disk = blank_disk(tmp_path / "disk", 512, uuid=UUID)
    mount = "mkdir -p /var/crash; mount -t ext4 /dev/vda /var/crash\n"
    away = UNREACHABLE + DISK_DRIVERS + "fallback local\n"
    run = guest(tmp_path, server, away, KNOWN_AT_PORT_1 + mount + START, disks=[disk])
    assert_rebooted(run)
    assert server.files() == {}
    # the same configuration with the server back, on the port it has now
    back = "ssh root@10.0.2.2:{port}\npath {dumps}\nfallback local /var/crash\n"
    second = guest(
        tmp_path,
        server,
        back,
        PREPARE + mount + '$KDUMP deliver; mark "deliver $?"; ls /var/crash/*; umount /var/crash\n',
        disks=[disk],
        life=2,
    )
    assert "@@ deliver 0" in second.text, second.text[-3000:]
    files = server.files()
    assert set(files) >= {"vmcore", "vmcore-dmesg.txt"}
    assert files["vmcore"].parent.name.startswith("10.0.2.15-")
    assert_vmcore_whole(files["vmcore"], tmp_path)
