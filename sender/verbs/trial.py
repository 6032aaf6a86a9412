"""`kdump test`: a dump that never was, sent by the script, key and host keys of the real thing."""

from __future__ import annotations

import secrets
import struct
import tempfile
import time
from pathlib import Path

from sender.failure import NotPossible
from sender.verbs.saved import run_capture
from sender.verbs.session import Session

_END = struct.pack(">qq", -1, -1)


def test(session: Session) -> int:
    """Send a small, whole and harmless dump to every ssh target. 0 when each took it."""
    config = session.config()
    if not config.ssh_targets:
        raise NotPossible(
            "no ssh target in kdump.conf; local places and NFS are tried by `kdump test --crash` only"
        )
    now = time.time()
    ident = f"{int(now)}-{secrets.token_hex(4)}"
    core = tiny_core(session.host.release, int(now))
    with tempfile.TemporaryDirectory(prefix="kdump-test-") as name:
        vmcore = Path(name) / "vmcore"
        vmcore.write_bytes(core if config.collector.program == "scp" else flattened(core))
        base = config.path.split("%")[0].rstrip("/")
        status = run_capture(
            session,
            config,
            "test",
            directory=f"{base}/kdump-test-{ident}",
            env={"KDUMP_VMCORE": str(vmcore), "KDUMP_TEST_ID": ident},
        )
    session.say(f"kdump test {ident}: {'passed' if status == 0 else 'failed'}")
    return 0 if status == 0 else 1


def crash(session: Session) -> int:
    """The real thing: panic this machine. The caller has asked the operator."""
    if not session.reserved().loaded:
        raise NotPossible("no crash kernel is loaded: this would only kill the machine; run `kdump start`")
    session.host.log("kdump test --crash: crashing this machine on purpose")
    session.host.run(["sync"], 120)
    session.host.path("/proc/sysrq-trigger").write_text("c")
    return 1  # not reached where it worked


def tiny_core(release: str, crash_time: int) -> bytes:
    """An ELF64 core with a vmcoreinfo note and one page of zeros: whole, and nobody's memory.

    Source: gabi ELF-64; Linux Documentation/admin-guide/kdump/vmcoreinfo.rst.
    """
    info = f"OSRELEASE={release}\nPAGESIZE=4096\nCRASHTIME={crash_time}\nKDUMP_TEST=1\n".encode()
    name = b"VMCOREINFO\0"
    note = struct.pack("<III", len(name), len(info), 0) + _padded(name) + _padded(info)
    head = 64 + 2 * 56
    page_at = (head + len(note) + 4095) & ~4095
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    notes = struct.pack("<IIQQQQQQ", 4, 0, head, 0, 0, len(note), len(note), 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, page_at, 0xFFFF888000000000, 0, 4096, 4096, 4096)
    return (elf + notes + load + note).ljust(page_at, b"\0") + bytes(4096)


def flattened(core: bytes) -> bytes:
    """makedumpfile's flattened format: a header, one record, the end record. Source: makedumpfile.h 1.7.2."""
    header = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
    return header + struct.pack(">qq", 0, len(core)) + core + _END


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
