"""One run of `kdump`: the host, the file, and how its words come out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from sender.conf.model import Config, Reading, read_file
from sender.failure import NotPossible
from sender.host import Host
from sender.image.build import Built, build, image_path, kernel_image
from sender.image.facts import gather
from sender.image.plan import Facts
from sender.kernel.cmdline import CommandLine, compose, initial_apicid
from sender.kernel.kexec import Attempt, attempts, elf_header, secure_boot
from sender.kernel.reserved import Reserved, advice, read_reserved

CONF = "/etc/kdump.conf"
COLUMN = 59  # where RHEL's init functions put "[  OK  ]"
_SECURE_FILES = (
    "/sys/firmware/efi/efivars/SecureBoot-*",
    "/sys/firmware/efi/efivars/SetupMode-*",
    "/proc/device-tree/ibm,secure-boot",
    "/proc/device-tree/os-secureboot-enforcing",
    "/sys/firmware/ipl/secure",
)


@dataclass(frozen=True, slots=True)
class Session:
    """``out`` for results, ``err`` for what went wrong and warnings."""

    host: Host
    conf: str = CONF
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    def say(self, text: str) -> None:
        """A line for the operator."""
        print(text, file=self.out, flush=True)

    def warn(self, text: str) -> None:
        """A line for the operator that is no result."""
        print(f"kdump: {text}", file=self.err, flush=True)

    def verdict(self, text: str, good: bool) -> None:
        """A line of RHEL's init scripts: ``Stopping kdump:   [  OK  ]``."""
        self.say(f"{text:<{COLUMN}}[{'  OK  ' if good else 'FAILED'}]")

    def reading(self) -> Reading:
        """kdump.conf, read. Raises ConfError where there is none."""
        return read_file(self.host.path(self.conf))

    def config(self) -> Config:
        """kdump.conf, obeyed; its warnings go out. Raises ConfError."""
        reading = self.reading()
        for problem in reading.problems:
            if not problem.fatal:
                self.warn(str(problem))
        return reading.require()

    def reserved(self) -> Reserved:
        """The crash kernel's memory, as the running kernel tells it."""
        return read_reserved(
            self.host.read("/sys/kernel/kexec_crash_size"),
            self.host.read("/sys/kernel/kexec_crash_loaded"),
            self.host.read("/proc/cmdline") or "",
        )

    def require_reserved(self) -> Reserved:
        """The same; raises NotPossible with advice where nothing is reserved."""
        state = self.reserved()
        text = advice(state, self.host.machine)
        if not state.supported:
            raise NotPossible(f"Kdump is not supported on this kernel: {text}")
        if text:
            raise NotPossible(f"No memory reserved for crash kernel: {text}")
        return state

    def secure_boot(self) -> bool:
        """Whether only signed kernels may be loaded."""
        files = {}
        for pattern in _SECURE_FILES:
            for path in self.host.root.glob(pattern.lstrip("/")):
                try:
                    files[path.name] = path.read_bytes()
                except OSError:
                    continue
        return secure_boot(files)

    def cmdline(self, config: Config) -> CommandLine:
        """The capture kernel's command line."""
        return compose(
            (self.host.read("/proc/cmdline") or "").strip(),
            self.host.machine,
            config.nr_cpus,
            initial_apicid(self.host.read("/proc/cpuinfo") or ""),
            config.cmdline_remove,
            config.cmdline_append,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything for kexec, checked; nothing loaded yet."""

    config: Config
    facts: Facts
    built: Built
    kexec: tuple[Attempt, ...]
    enforced: bool


def version_of(session: Session, config: Config) -> str:
    """The capture kernel's version: the running one unless kdump.conf says another."""
    return config.kernel_version or session.host.release


def kexec_attempts(session: Session, config: Config, image: Path) -> tuple[Attempt, ...]:
    """The kexec calls for a config. Raises NotPossible where there is no kernel file."""
    kernel = kernel_image(session.host, version_of(session, config))
    machine = session.host.machine
    return attempts(
        str(kernel),
        str(image),
        session.cmdline(config).text,
        machine,
        enforced=session.secure_boot(),
        given=config.kexec_args,
        elf=elf_header(machine, session.host.read("/proc/iomem") or "", config.kexec_args),
    )


def prepare(session: Session) -> Prepared:
    """Check, gather and build. Whatever is wrong is said here, while what is loaded stays loaded.

    Raises:
        Failure: with what to do.
    """
    config = session.config()
    require_programs(["kexec", config.collector.words[0], *(["ssh", "scp"] if config.ssh_targets else [])])
    session.require_reserved()
    version = version_of(session, config)
    kernel_image(session.host, version)
    facts, warnings = gather(session.host, config, config.net_timeout)
    for warning in warnings:
        session.warn(warning)

    def tell(by_dracut: bool, reasons: Sequence[str]) -> None:
        session.say(f"{'Rebuilding' if by_dracut else 'Updating'} {image_path(session.host, version)}")
        session.say("\n".join(f"  {reason}" for reason in reasons))

    built = build(session.host, config, facts, version, tell)
    calls = kexec_attempts(session, config, built.image)
    return Prepared(config, facts, built, calls, session.secure_boot())


def require_programs(names: Sequence[str]) -> None:
    """Raises NotPossible naming the packages of the missing ones."""
    packages = {"kexec": "kexec-tools", "ssh": "openssh-client", "scp": "openssh-client"}
    for name in names:
        if shutil.which(name) is None:
            package = packages.get(name.rsplit("/", 1)[-1], name.rsplit("/", 1)[-1])
            raise NotPossible(f"{name} is not installed; install {package}")
