"""Dumps that lie on this host: in /proc/vmcore, on a raw partition, or waiting for delivery."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sender.conf.collector import Collector, command_for
from sender.conf.model import Config
from sender.conf.targets import Filesystem, Local, Raw
from sender.failure import NotPossible
from sender.host import Host
from sender.image.build import scripts
from sender.image.facts import gather
from sender.image.plan import compile_plan
from sender.verbs.session import Session

COPY_SECONDS = 24 * 3600
REARRANGE_SECONDS = 6 * 3600  # makedumpfile -R spins on truncated input: never without a bound
SIGNATURE = b"makedumpfile\0\0\0\0"
UNDELIVERED = "undelivered"


def save_core_and_reboot(session: Session) -> int:
    """RHEL 6's save_core: the crash was followed by mount_root_run_init, so the dump is still in memory."""
    host = session.host
    config = session.config()
    root = Filesystem("", "/")
    place = host.path(config.path.split("%")[0]) / f"127.0.0.1-{time.strftime('%Y-%m-%d-%H:%M')}"
    place.mkdir(parents=True, exist_ok=True)
    part, whole = place / "vmcore-incomplete", place / "vmcore"
    collector = (
        config.collector if config.collector.program != "scp" else Collector(("cp", "--sparse=always"))
    )
    vmcore = str(host.path("/proc/vmcore"))
    host.run(["makedumpfile", "--dump-dmesg", vmcore, str(place / "vmcore-dmesg.txt")], 300)
    ran = host.run([*command_for(collector, root), vmcore, str(part)], COPY_SECONDS, show=True)
    if ran.status == 0:
        part.rename(whole)
        host.run(["sync"], 600)
        host.log(f"saved a vmcore to {place}")
    else:
        host.log(f"failed to save a vmcore to {place}")
    session.verdict(f"Saving vmcore to {place}", good=ran.status == 0)
    host.run(["reboot", "-f"], 60)
    return 0 if ran.status == 0 else 1


def save_raw(session: Session) -> None:
    """Bring in what the capture kernel left on a raw partition, and wipe its head: it is read once."""
    host = session.host
    config = session.config()
    for target in config.targets:
        if not isinstance(target, Raw):
            continue
        device = host.path(target.device)
        try:
            with device.open("rb") as file:
                head = file.read(len(SIGNATURE))
        except OSError as error:
            raise NotPossible(f"Bad raw partition {target.device}: {error.strerror}") from error
        if head != SIGNATURE:
            continue
        place = host.path(config.path.split("%")[0]) / time.strftime("%Y-%m-%d-%H:%M")
        place.mkdir(parents=True, exist_ok=True)
        session.say(f"Dump saved on {target.device}: rearranging into {place}/vmcore")
        ran = host.run(
            [
                "sh",
                "-c",
                'exec makedumpfile -R "$1" < "$2"',
                "sh",
                str(place / "vmcore-incomplete"),
                str(device),
            ],
            REARRANGE_SECONDS,
        )
        if ran.status != 0:
            session.warn(
                f"the dump on {target.device} is not whole; it is left there ({ran.err.strip()[-200:]})"
            )
            continue
        (place / "vmcore-incomplete").rename(place / "vmcore")
        with device.open("r+b") as file:
            file.write(b"\0" * 512)
        host.log(f"saved the vmcore of {target.device} to {place}")


def deliver(session: Session) -> int:
    """Send every dump that was saved here because its server did not answer. 0 when none is left."""
    config = session.config()
    left = 0
    for place in waiting(session.host, config):
        number = (place / UNDELIVERED).read_text().strip()
        if not number.isdigit() or not 0 < int(number) <= len(config.targets):
            session.warn(f"{place}/{UNDELIVERED} names place {number}, which kdump.conf no longer has")
            left += 1
            continue
        session.say(f"Delivering {place} to {config.targets[int(number) - 1]}")
        status = run_capture(
            session, config, "deliver", str(place), number, directory=_remote_name(config, int(number), place)
        )
        if status == 0:
            (place / UNDELIVERED).rename(place / "delivered")
            session.host.log(f"delivered {place}")
        else:
            left += 1
    if left:
        session.warn(f"{left} dump(s) still wait; `kdump deliver` tries again")
    return 1 if left else 0


def waiting(host: Host, config: Config) -> Iterator[Path]:
    """The directories of dumps that wait for delivery, oldest first."""
    for target in config.targets:
        base = ""
        if isinstance(target, Local):
            base = (target.path or config.path).split("%")[0]
        elif isinstance(target, Filesystem):
            ran = host.run(["findmnt", "-n", "-o", "TARGET", "-S", target.device], 20)
            if ran.status == 0:
                base = ran.out.splitlines()[0] + (target.path or config.path).split("%")[0]
        if base and host.path(base).is_dir():
            yield from sorted(marker.parent for marker in host.path(base).glob(f"*/{UNDELIVERED}"))


def _remote_name(config: Config, number: int, place: Path) -> str:
    """The directory on the server: the crash's own date, and our address in place of 127.0.0.1."""
    name = place.name.replace("127.0.0.1-", "%HOST-", 1)
    base = (config.targets[number - 1].path or config.path).split("%")[0]
    return f"{base.rstrip('/')}/{name}"


def run_capture(
    session: Session,
    config: Config,
    mode: str,
    *words: str,
    directory: str = "",
    env: dict[str, str] | None = None,
) -> int:
    """Run the very script of the capture kernel in this one, on a plan laid out in a private directory."""
    facts, warnings = gather(session.host, config)
    for warning in warnings:
        session.warn(warning)
    files = scripts()
    plan = compile_plan(config, facts, files)
    with tempfile.TemporaryDirectory(prefix="kdump-run-") as name:
        top = Path(name)
        for entry in plan.entries:
            path = top / entry.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(entry.data.replace(b"/etc/kdump-net/key", f"{top}/etc/kdump-net/key".encode()))
        variables = {
            "KDUMP_PLAN": f"{top}/etc/kdump-net",
            "KDUMP_LIB": f"{top}/usr/lib/kdump-net",
            "KDUMP_TMP": f"{top}/work",
            **({"KDUMP_DIRECTORY": directory} if directory else {}),
            **(env or {}),
        }
        script = f"{top}/usr/lib/kdump-net/capture.sh"
        return session.host.run(["sh", script, mode, *words], COPY_SECONDS, env=variables, show=True).status
