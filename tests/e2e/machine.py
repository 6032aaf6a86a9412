"""A guest in QEMU whose disk is this machine's own root, read-only, with a memory overlay.

So `kdump`, dracut, kexec and ssh in the guest are those of the machine that runs the test, nothing
is installed anywhere, and every boot starts clean. Debian's cloud kernel is fetched with apt once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

REPO = Path(__file__).parent.parent.parent
SILENT_SECONDS = 120.0  # a guest's first line comes after seven
BOOTS = 2
CACHE = Path(os.environ.get("KDUMP_E2E_CACHE", "/var/tmp/kdump-net-e2e"))
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
FIRST_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtiofs", "overlay", "ext4", "virtio_rng")

FIRST_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules); do insmod $module 2>/dev/null; done
mkdir -p /lower /upper /new
mount -t virtiofs hostroot /lower || { echo "@@ no root"; poweroff -f; }
mount -t tmpfs -o size=60% tmpfs /upper
mkdir /upper/u /upper/w
mount -t overlay -o lowerdir=/lower,upperdir=/upper/u,workdir=/upper/w overlay /new
mount --bind /lower@STAGE@ /new@STAGE@  # the one place of the host that the guest can write to
mount --move /proc /new/proc; mount --move /sys /new/sys; mount --move /dev /new/dev
exec switch_root /new /bin/bash @STAGE@/init.sh
"""

GUEST_INIT = """#!/bin/bash
exec </dev/console >/dev/console 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mkdir -p /checkout; mount --bind @REPO@ /checkout
mount -t tmpfs tmpfs /run; mkdir -p /run/lock /lib/modules /dev/pts; mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
[ -e @REPO@ ] || { mkdir -p @REPO@; mount --bind /checkout @REPO@; }  # it lies below /tmp or /run
mkdir -p /boot /lib/modules
mount --bind @KERNEL@/boot /boot; mount --bind @KERNEL@/lib/modules /lib/modules
echo crashnode1 > /proc/sys/kernel/hostname
echo '127.0.0.1 localhost crashnode1' > /etc/hosts
rm -f /etc/resolv.conf; echo 'nameserver 10.0.2.3' > /etc/resolv.conf
/lib/systemd/systemd-udevd --daemon; udevadm trigger --action=add -s block -s net; udevadm settle -t 20
ip link set lo up
rm -rf /root/.ssh /var/lib/kdump; mkdir -m 700 /root/.ssh
stage=@STAGE@
mark() { echo "@@ $1 $(cut -d' ' -f1 /proc/uptime)"; }
mark booted
. $stage/guest.sh
mark ended
sync
echo o > /proc/sysrq-trigger; sleep 30
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package: ``home`` holds boot/ and lib/modules/."""

    home: Path
    version: str

    @property
    def image(self) -> Path:
        """The bootable file."""
        return self.home / f"boot/vmlinuz-{self.version}"


@dataclass(slots=True)
class Run:
    """One life of the guest: its console with the times its lines came, in seconds since power on."""

    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The whole console."""
        return "\n".join(line for _, line in self.lines)

    def at(self, words: str, after: float = 0.0) -> float | None:
        """When the first line with these words came."""
        return next((when for when, line in self.lines if words in line and when >= after), None)


@cache
def lacking() -> tuple[str, ...]:
    """What this machine has not: empty where guests can run, crash and be built for."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    needed = ["qemu-system-x86_64", "mke2fs", "debugfs", "dracut", "kexec", "busybox", "cpio", "apt-get"]
    words = [program for program in needed if shutil.which(program, path=path) is None]
    words += [] if any(Path(p).exists() for p in VIRTIOFSD) else ["virtiofsd"]
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        words.append("root's right to mount")
    return tuple(words)


def fetch_kernel() -> Kernel:
    """Debian's cloud kernel, downloaded and unpacked once into the cache."""
    home = CACHE / "kernel"
    if not list(home.glob("boot/vmlinuz-*")):
        CACHE.mkdir(parents=True, exist_ok=True)
        depends = subprocess.run(
            ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=True
        ).stdout
        package = next(w for w in depends.split() if w.startswith("linux-image-") and w[12].isdigit())
        subprocess.run(["apt-get", "-qq", "download", package], cwd=CACHE, check=True, capture_output=True)
        new = CACHE / "kernel.new"
        shutil.rmtree(new, ignore_errors=True)
        deb = max(CACHE.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg", "-x", str(deb), str(new)], check=True)
        version = next(new.glob("boot/vmlinuz-*")).name.removeprefix("vmlinuz-")
        subprocess.run(["depmod", "-b", str(new), version], check=True)
        new.rename(home)
    return Kernel(home, next(home.glob("boot/vmlinuz-*")).name.removeprefix("vmlinuz-"))


def first_image(kernel: Kernel, stage: Path) -> Path:
    """The initramfs that mounts this machine's root in the guest."""
    top = stage / "first"
    for name in ("bin", "proc", "sys", "dev"):
        (top / name).mkdir(parents=True)
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    copy_with_libraries(busybox, top, top / "bin/busybox")
    order: list[str] = []
    for module in FIRST_MODULES:
        shown = subprocess.run(
            ["modprobe", "-d", str(kernel.home), "-S", kernel.version, "--show-depends", module],
            capture_output=True,
            text=True,
        ).stdout
        for line in shown.splitlines():
            words = line.split()
            if words[:1] == ["insmod"] and words[1] not in order:
                order.append(words[1])
    for path in order:
        shutil.copy(path, top / Path(path).name)
    (top / "modules").write_text("".join(f"/{Path(p).name}\n" for p in order))
    (top / "init").write_text(FIRST_INIT.replace("@STAGE@", str(stage)))
    (top / "init").chmod(0o755)
    image = stage / "first.img"
    subprocess.run(
        f"find . | cpio -o -H newc --quiet | gzip -1 > {shlex.quote(str(image))}",
        shell=True,
        check=True,
        cwd=top,
    )
    return image


def copy_with_libraries(program: Path, top: Path, place: Path) -> None:
    """The program to ``place``, its libraries beneath ``top`` where the loader looks for them."""
    shutil.copy(program.resolve(), place)
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    for word in listed.split():
        if word.startswith("/"):
            to = top / word.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(word).resolve(), to)


@contextmanager
def shared_root(stage: Path) -> Iterator[Path]:
    """virtiofsd serving / of this machine on a socket in ``stage``."""
    program = next(p for p in VIRTIOFSD if Path(p).exists())
    socket = stage / "fs.sock"
    with (stage / "virtiofsd.log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                program,
                f"--socket-path={socket}",
                "-o",
                "source=/",
                "-o",
                "cache=always",
                "-o",
                "sandbox=chroot",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 10
            while not socket.exists():
                if time.monotonic() > deadline or daemon.poll() is not None:
                    raise RuntimeError((stage / "virtiofsd.log").read_text())
                time.sleep(0.05)
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(10)


def boot(
    stage: Path,
    script: str,
    *,
    memory: int = 768,
    reserve: str = "192M",
    cpus: int = 2,
    seconds: float = 400,
    disks: Sequence[Path] = (),
    append: str = "",
    netdev: str = "user,id=n0",
    environment: Mapping[str, str] | None = None,
    until: str = "",
    typed: Sequence[tuple[str, str]] = (),
    devices: Sequence[str] = (),
) -> Run:
    """Run the guest until it powers off, reboots (both end QEMU), says ``until``, or ``seconds`` have passed.

    ``script`` is sourced by bash as the guest's init; ``$stage`` is this directory, writable there.
    ``typed`` are pairs of what to wait for on the console and what to type then; ``devices`` are more
    words of QEMU.
    """
    kernel = fetch_kernel()
    stage.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(stage / "first", ignore_errors=True)
    variables = "".join(f"{k}={shlex.quote(v)}\n" for k, v in (environment or {}).items())
    (stage / "guest.sh").write_text(variables + script)
    init = GUEST_INIT.replace("@STAGE@", str(stage)).replace("@KERNEL@", str(kernel.home))
    init = init.replace("@REPO@", str(REPO))
    (stage / "init.sh").write_text(init)
    image = first_image(kernel, stage)
    for attempt in range(BOOTS):
        with shared_root(stage) as socket:
            argv = [
                "qemu-system-x86_64",
                "-nodefaults",
                "-display",
                "none",
                "-no-reboot",
                "-machine",
                "q35,accel=tcg",
            ]
            argv += ["-cpu", "max", "-smp", str(cpus), "-m", str(memory)]
            argv += [
                "-object",
                f"memory-backend-memfd,id=mem,size={memory}M,share=on",
                "-numa",
                "node,memdev=mem",
            ]
            argv += [
                "-chardev",
                f"socket,id=fs,path={socket}",
                "-device",
                "vhost-user-fs-pci,chardev=fs,tag=hostroot",
            ]
            argv += ["-kernel", str(kernel.image), "-initrd", str(image)]
            argv += [
                "-append",
                f"console=ttyS0 net.ifnames=0 panic=5 loglevel=4 crashkernel={reserve} {append}".strip(),
            ]
            argv += ["-netdev", netdev, "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci"]
            for number, disk in enumerate(disks):
                argv += ["-drive", f"file={disk},format=raw,if=none,id=d{number}"]
                argv += ["-device", f"virtio-blk-pci,drive=d{number},serial=disk{number}"]
            run = run_qemu([*argv, *devices], stage / "console.log", seconds, until, typed)
        if run.lines or attempt == BOOTS - 1:
            break
        print(f"the guest said nothing for {SILENT_SECONDS:.0f} s; once more", file=sys.stderr)
    return run


def run_qemu(
    argv: Sequence[str],
    console: Path,
    seconds: float,
    until: str = "",
    typed: Sequence[tuple[str, str]] = (),
) -> Run:
    """Run QEMU to its end and keep its console; killed after ``seconds`` or at a line with ``until``.

    A run without a line: the emulator hung before the kernel said a word, which was seen once.
    """
    run = Run()
    waiting = list(typed)
    seen = b""  # since the last answer
    begin = time.monotonic()
    with console.open("w") as log:
        qemu = subprocess.Popen(
            [*argv, "-serial", "stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert qemu.stdout is not None
        assert qemu.stdin is not None
        try:
            os.set_blocking(qemu.stdout.fileno(), False)
            left = b""
            while True:
                data = qemu.stdout.read()
                now = time.monotonic() - begin
                seen += data or b""
                if waiting and (at := seen.find(waiting[0][0].encode())) >= 0:
                    seen = seen[at + len(waiting[0][0]) :]
                    qemu.stdin.write(waiting.pop(0)[1].encode() + b"\n")
                    qemu.stdin.flush()
                *whole, left = (left + (data or b"")).split(b"\n")
                for raw in whole:
                    line = raw.decode(errors="replace").rstrip("\r")
                    run.lines.append((now, line))
                    print(f"{now:8.2f} {line}", file=log, flush=True)
                    if until and until in line:
                        return run
                if not data:
                    if qemu.poll() is not None:
                        return run
                    time.sleep(0.05)
                if not run.lines and not left and now > SILENT_SECONDS:
                    return run
                if now > seconds:
                    run.lines.append((now, "@@ time is up"))
                    print(f"{now:8.2f} @@ time is up", file=log, flush=True)
                    return run
        finally:
            if qemu.poll() is None:
                qemu.kill()
            qemu.wait(10)
            qemu.stdin.close()
            qemu.stdout.close()
