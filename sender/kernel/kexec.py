"""How kexec is called: which system call, which ELF header, and what to try next.

Sources: kexec-tools kexec.c (``-s`` is kexec_file_load without fallback, ``-c``
the older kexec_load); kdump-utils kdump-lib.sh is_secure_boot_enforced;
RHEL 6 kdump.init for the ELF headers of i386.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FILE_LOAD_MACHINES = frozenset(("x86_64", "aarch64", "ppc64le", "s390x"))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One kexec call; ``why`` tells the operator the reason for its flags."""

    argv: tuple[str, ...]
    why: str


def secure_boot(files: Mapping[str, bytes]) -> bool:
    """Whether this boot enforces signed kernels.

    ``files`` are the contents, by name, of efivars ``SecureBoot-*``/``SetupMode-*`` (value in the
    fifth byte), of ppc64's ``ibm,secure-boot``/``os-secureboot-enforcing`` and of s390x's ``secure``.
    """
    secure = setup = 0
    for name, data in files.items():
        if name.startswith("SecureBoot-") and len(data) >= 5:
            secure = data[4]
        elif name.startswith("SetupMode-") and len(data) >= 5:
            setup = data[4]
        elif (
            (name == "ibm,secure-boot" and int.from_bytes(data[:4], "big") >= 2)
            or name == "os-secureboot-enforcing"
            or (name == "secure" and data.strip() == b"1")
        ):
            return True
    return secure == 1 and setup == 0


def elf_header(machine: str, iomem: str, given: tuple[str, ...]) -> tuple[str, ...]:
    """``--elf32-core-headers`` or ``--elf64-core-headers`` on i386, nothing elsewhere.

    64-bit headers are needed where memory ends above 4 GiB (RHEL 6 looks at the last line of /proc/iomem).
    """
    if machine not in ("i386", "i486", "i586", "i686"):
        return ()
    lines = iomem.strip().splitlines()
    end = lines[-1].strip().split(" ", 1)[0].partition("-")[2] if lines else ""
    try:
        high = int(end or "0", 16) > 0xFFFFFFFF
    except ValueError:
        high = False
    if high:
        return () if "--elf64-core-headers" in given else ("--elf64-core-headers",)
    return () if {"--elf32-core-headers", "--elf64-core-headers"} & set(given) else ("--elf32-core-headers",)


def attempts(
    kernel: str,
    initrd: str,
    cmdline: str,
    machine: str,
    *,
    enforced: bool,
    given: tuple[str, ...] = (),
    elf: tuple[str, ...] = (),
) -> tuple[Attempt, ...]:
    """The calls to try, in order. Under secure boot there is one, because the other call is forbidden."""
    tail = ("-p", f"--command-line={cmdline}", f"--initrd={initrd}", kernel)
    if enforced:
        kept = tuple(
            word for word in given if word not in ("-c", "--kexec-syscall", "-a", "--kexec-syscall-auto")
        )
        flag = () if "-s" in kept else ("-s",)
        return (Attempt(("kexec", *kept, *elf, *flag, *tail), "secure boot allows only signed kernels (-s)"),)
    if {"-s", "-c", "-a", "--kexec-file-syscall", "--kexec-syscall", "--kexec-syscall-auto"} & set(given):
        return (Attempt(("kexec", *given, *elf, *tail), "kexec_args of kdump.conf"),)
    old = Attempt(("kexec", *given, *elf, *tail), "the system call kexec_load")
    if machine not in FILE_LOAD_MACHINES:
        return (old,)
    return (
        Attempt(("kexec", *given, *elf, "-s", *tail), "the system call kexec_file_load (-s)"),
        Attempt(("kexec", *given, *elf, "-c", *tail), "kexec_file_load refused; the older kexec_load (-c)"),
    )


def unload(enforced: bool) -> tuple[str, ...]:
    """``kexec -p -u``, by the file system call under secure boot."""
    return ("kexec", "-s", "-p", "-u") if enforced else ("kexec", "-p", "-u")
