"""Builds the image where something changed: dracut the slow archive, ourselves the quick one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sender.capture import HERE as SCRIPTS
from sender.conf.model import Config
from sender.failure import NotPossible
from sender.host import Host
from sender.image.cpio import pack
from sender.image.facts import DRACUT_HOME, STATE
from sender.image.plan import ETC, KEY, Facts, Plan, compile_plan, device_node

DRACUT_SECONDS = 1800
_NAMES = {
    f"{ETC}/plan": "kdump.conf",
    f"{ETC}/quick": "the network of this host",
    f"{ETC}/known_hosts": "the servers' host keys",
    KEY: "the ssh key",
    "/etc/hosts": "the addresses of names in kdump.conf",
    "/etc/cmdline.d/50-kdump-net.conf": "the network or the storage of this host",
    "/etc/modprobe.d/kdump-net.conf": "options and blacklist of kdump.conf",
    "/etc/hostname": "the host name",
}

# the kernel holds a window beside the image that it unpacks: 4 MiB of scarce memory with dracut's own call
ZSTD = "zstd -15 -q -T0 --zstd=wlog=19"


@dataclass(frozen=True, slots=True)
class Built:
    """``image`` is the file for kexec; ``reasons`` why it was built now, empty when it was as wanted."""

    image: Path
    reasons: tuple[str, ...]
    by_dracut: bool


def scripts() -> dict[str, bytes]:
    """The files that run in the capture kernel, by name."""
    return {path.name: path.read_bytes() for path in sorted(SCRIPTS.glob("*.sh"))}


def plan_for(config: Config, facts: Facts) -> Plan:
    """`compile_plan` with the scripts of this installation."""
    return compile_plan(config, facts, scripts())


def image_path(host: Host, version: str) -> Path:
    """Where the image for a kernel lies."""
    return host.path(f"{STATE}/initrd-{version}.img")


def build(
    host: Host, config: Config, facts: Facts, version: str, tell: Callable[[bool, Sequence[str]], None]
) -> Built:
    """Bring the image up to date; nothing is written where nothing changed.

    ``tell`` hears beforehand whether dracut will run, which takes its time, and why.

    Raises:
        NotPossible: dracut is missing or failed; the image that was there is left as it was.
    """
    plan = plan_for(config, facts)
    image, base = image_path(host, version), host.path(f"{STATE}/base-{version}.img")
    old = _read_stamp(host, version)
    slow = _slow_stamp(host, config, facts, plan, version)
    quick = {entry.path: _digest(entry.data + str(entry.mode).encode()) for entry in plan.entries}
    reasons = _differences(old.get("slow", {}), slow) if base.exists() else ["there is no image yet"]
    by_dracut = bool(reasons) or config.force_rebuild
    if config.force_rebuild and not reasons:
        reasons = ["force_rebuild is set"]
    if by_dracut and config.force_no_rebuild and base.exists():
        by_dracut, reasons = False, []
    quick = {_NAMES.get(path, path): digest for path, digest in quick.items()}
    if image.exists():
        reasons += [reason for reason in _differences(old.get("quick", {}), quick) if reason not in reasons]
    if reasons:
        tell(by_dracut, reasons)
    if by_dracut:
        _run_dracut(host, config, facts, plan, version, base)
    if reasons or not image.exists():
        data = base.read_bytes()
        whole = data + b"\0" * (-len(data) % 512) + pack(plan.entries)
        host.write(f"{STATE}/{image.name}", whole)  # 0600: it holds a private key
        host.write(
            f"{STATE}/stamp-{version}.json", json.dumps({"slow": slow, "quick": quick}, indent=1).encode()
        )
    return Built(image, tuple(dict.fromkeys(reasons)), by_dracut)


def dracut_argv(
    config: Config, facts: Facts, devices: Sequence[str], version: str, output: str, kernel_config: str
) -> list[str]:
    """The call of dracut; nothing of the host's own dracut configuration is read."""
    argv = ["dracut", "--quiet", "--force", "--kver", version, "--conf", "/dev/null"]
    argv += ["--hostonly", "--hostonly-mode", "strict", "--no-hostonly-default-device", "--no-hostonly-i18n"]
    argv += ["--hostonly-cmdline", "--no-early-microcode"]
    argv += ["--modules", "kdump-net"]
    if facts.network.interfaces and config.needs_network:
        argv += ["--hostonly-nics", " ".join(facts.network.interfaces)]
    for device in devices:
        argv += ["--add-device", device]
    # the kernel unpacks what it was built for; zstd is four times as quick as gzip there
    zstd = "CONFIG_RD_ZSTD=y" in kernel_config and shutil.which("zstd")
    argv += ["--compress", ZSTD] if zstd else ["--gzip"]
    return [*argv, *config.dracut_args, output]


def devices_of(host: Host, plan: Plan) -> list[str]:
    """The nodes themselves: dracut finds no driver for ``UUID=…``."""
    return [str(host.path(device_node(device)).resolve()) for device in plan.needs.devices]


def _run_dracut(host: Host, config: Config, facts: Facts, plan: Plan, version: str, base: Path) -> None:
    """dracut into a temporary file, then into place.

    dracut finds modules only beneath its own directory; a directory of links to
    it, with our module among them, saves us from writing into /usr.
    """
    home = Path(os.environ.get("dracutbasedir", DRACUT_HOME))  # noqa: SIM112  # dracut's own spelling
    if not (home / "dracut-init.sh").exists():
        raise NotPossible(
            "dracut is not installed; install dracut-core and dracut-network (Debian) or dracut (Fedora)"
        )
    base.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kdump-dracut-", dir=base.parent) as name:
        work = Path(name)
        ours = work / "dracut"
        (ours / "modules.d").mkdir(parents=True)
        for path in home.iterdir():
            if path.name not in ("modules.d", "dracut.conf.d"):
                (ours / path.name).symlink_to(path)
        for path in (home / "modules.d").iterdir():
            (ours / "modules.d" / path.name).symlink_to(path)
        (ours / "modules.d/99kdump-net").symlink_to(SCRIPTS / "99kdump-net")
        for empty in ("conf.d", "tmp", "dracut/dracut.conf.d"):
            (work / empty).mkdir()
        needs = work / "needs"
        needs.write_text(plan.needs.text())
        output = work / "base.img"
        argv = dracut_argv(
            config,
            facts,
            devices_of(host, plan),
            version,
            str(output),
            host.read(f"/boot/config-{version}") or "",
        )
        argv[1:1] = ["--confdir", str(work / "conf.d"), "--tmpdir", str(work / "tmp")]
        env = {"dracutbasedir": str(ours), "kdumpnet_needs": str(needs)}
        ran = host.run(argv, DRACUT_SECONDS, env=env)
        if ran.status != 0 or not output.exists():
            tail = "\n".join((ran.err or ran.out).strip().splitlines()[-15:])
            raise NotPossible(f"dracut failed ({ran.status}); the image that was there is kept\n{tail}")
        os.chmod(output, 0o600)
        os.replace(output, base)


def _slow_stamp(host: Host, config: Config, facts: Facts, plan: Plan, version: str) -> dict[str, str]:
    """What the slow archive was made of, by words the operator knows."""
    needs = plan.needs
    stamp = {
        "the kernel's version": version,
        "dracut's modules": " ".join(needs.modules),
        "kernel modules in kdump.conf": " ".join(needs.drivers),
        "devices of the targets": " ".join(devices_of(host, plan)),
        "the network cards": " ".join(facts.network.interfaces),
        "dracut_args": " ".join(config.dracut_args),
        "the programs wanted": " ".join((*needs.programs, *needs.perhaps)) + " dhclient" * needs.lease,
        "kdump-net's dracut module": _digest(b"".join(p.read_bytes() for p in sorted(_module_files()))),
    }
    for program in (*needs.programs, "dracut"):
        found = shutil.which(program) or program
        stamp[f"the program {program}"] = _identity(
            host.path(found) if found.startswith("/") else Path(found)
        )
    stamp[f"/lib/modules/{version}"] = _identity(host.path(f"/lib/modules/{version}/modules.dep"))
    return stamp


def _module_files() -> Iterable[Path]:
    return (SCRIPTS / "99kdump-net").glob("*.sh")


def _identity(path: Path) -> str:
    """Size and time of change: enough to see an upgrade, without reading megabytes at every boot."""
    try:
        status = path.stat()
    except OSError:
        return "none"
    return f"{status.st_size} {status.st_mtime_ns}"


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [f"{name} changed" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def _read_stamp(host: Host, version: str) -> dict[str, dict[str, str]]:
    try:
        value = json.loads(host.read(f"{STATE}/stamp-{version}.json") or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kernel_image(host: Host, version: str) -> Path:
    """The kernel's file.

    Raises:
        NotPossible: none of the places has it.
    """
    names = [f"/boot/{n}-{version}" for n in ("vmlinuz", "vmlinux", "Image", "image", "kernel")]
    for name in (*names, f"/lib/modules/{version}/vmlinuz", f"/usr/lib/modules/{version}/vmlinuz"):
        if host.path(name).is_file():
            return host.path(name)
    raise NotPossible(f"no kernel image for {version}: looked for {', '.join(names)}")
