"""kdump.conf and the running host's facts, compiled into what the capture kernel reads.

Pure. The result is a list of files (`Entry`) and a list of things dracut has to find (`Needs`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from sender.conf.collector import Collector, check_for, command_for, swapped
from sender.conf.model import Config
from sender.conf.targets import Filesystem, Local, Nfs, Raw, Ssh, Target
from sender.image.cpio import Entry
from sender.image.network import Network

ETC = "/etc/kdump-net"
LIB = "/usr/lib/kdump-net"
KEY = f"{ETC}/key"
LEAST_WAIT = (
    60  # seconds for udev to find what is there; a machine of many cards and disks takes half of them
)


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a directory of the running host really lies; ``inside`` is its path on the device."""

    device: str
    fstype: str
    inside: str = "/"
    options: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What only the running host can tell. Every mapping is keyed by the words of kdump.conf."""

    # host name -> address
    addresses: Mapping[str, str] = field(default_factory=dict)
    network: Network = field(default_factory=Network)
    # path of a Local target -> where it lies
    mounts: Mapping[str, Mount] = field(default_factory=dict)
    root: Mount = field(default_factory=lambda: Mount("", ""))
    # the TYPE column of lsblk below the targets: lvm, raid1, mpath, crypt
    storage: frozenset[str] = frozenset()
    hostname: str = "localhost"
    # "key", "known_hosts", "fence.key" -> content
    keys: Mapping[str, bytes] = field(default_factory=dict)
    # path of the C sender, '' where there is none
    fence_program: str = ""
    # scripts named by kdump.conf: path -> content
    programs: Mapping[str, bytes] = field(default_factory=dict)
    # dracut's, first the one that configures
    network_modules: tuple[str, ...] = ("network-legacy", "network")
    # of busybox and dash, those this host has
    tools: frozenset[str] = frozenset()
    # kernel modules of the hardware watchdogs
    watchdogs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What dracut must put in. ``programs`` are required, ``perhaps`` taken where the host has them."""

    modules: tuple[str, ...]
    programs: tuple[str, ...]
    perhaps: tuple[str, ...]
    drivers: tuple[str, ...]
    devices: tuple[str, ...]
    lease: bool = False  # an address has to be asked for
    keep: tuple[str, ...] = ("*",)  # programs that busybox must not stand for, "*" for all
    ciphers: bool = True  # the kernel's own: encrypted disks, signed file systems

    def text(self) -> str:
        """The file the dracut module reads."""
        rows = [f"module {m}" for m in self.modules]
        rows += [f"program {p}" for p in self.programs] + [f"perhaps {p}" for p in self.perhaps]
        rows += [f"driver {d}" for d in self.drivers] + ["lease yes"] * self.lease
        rows += [f"keep {p}" for p in self.keep] + ["ciphers yes"] * self.ciphers
        return "".join(f"{row}\n" for row in rows)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole capture image: the quick archive's entries and the slow one's needs."""

    entries: tuple[Entry, ...]
    needs: Needs


@dataclass(frozen=True, slots=True)
class Place:
    """A target as the capture kernel sees it: `Local` became a device, ``path`` lies on it."""

    target: Target
    path: str
    options: str = ""  # of mount


# what the scripts call besides what dracut's base module brings
_ALWAYS = "ip date grep dd sync dmesg timeout setsid cat mkfifo sleep mount tr".split()  # noqa: SIM905
# and what is taken where the host has it; makedumpfile reads the log where vmcore-dmesg is not
_PERHAPS = "busybox vmcore-dmesg makedumpfile blockdev umount".split()  # noqa: SIM905
# where there is no busybox; they bring systemd's library along
_END = ("reboot", "halt", "poweroff", "systemctl")
_FENCE = ("openssl", "bash", "socat", "nc", "xxd", "od", "hostname")
_NFS_DRIVERS = ("nfs", "nfsv3", "nfsv4", "nfs_layout_nfsv41_files")
_STORAGE = (("lvm", "lvm"), ("raid", "mdraid"), ("mpath", "multipath"), ("crypt", "crypt"), ("dm", "dm"))


def compile_plan(config: Config, facts: Facts, scripts: Mapping[str, bytes]) -> Plan:
    """Compile it. ``scripts`` are the files of sender/capture by name."""
    places = [_resolved(target, config, facts) for target in config.targets]
    entries = [Entry(f"{LIB}/{name}", data, 0o755) for name, data in scripts.items() if name.endswith(".sh")]
    entries.append(Entry(f"{ETC}/plan", _plan_text(config, facts, places).encode()))
    for number, place in enumerate(places, 1):
        entries.append(Entry(f"{ETC}/target.{number}", _target_text(config, facts, place).encode()))
    if facts.keys.get("key"):
        entries.append(Entry(KEY, facts.keys["key"], 0o600))
    if facts.keys.get("fence.key"):
        entries.append(Entry(f"{ETC}/fence.key", facts.keys["fence.key"], 0o600))
    entries.append(Entry(f"{ETC}/known_hosts", facts.keys.get("known_hosts", b"")))
    entries.append(Entry("/etc/cmdline.d/50-kdump-net.conf", _cmdline_text(config, facts).encode()))
    if quick(config, facts):
        entries.append(Entry(f"{ETC}/quick", _quick_text(config, facts).encode()))
    entries.append(Entry("/etc/hosts", _hosts_text(facts).encode()))
    entries.append(Entry("/etc/hostname", f"{facts.hostname}\n".encode()))
    entries.append(Entry("/etc/modprobe.d/kdump-net.conf", _modprobe_text(config).encode()))
    entries += [Entry(path, data, 0o755) for path, data in facts.programs.items() if data[:2] == b"#!"]
    return Plan(tuple(entries), needs_of(config, facts, [place.target for place in places]))


def needs_of(config: Config, facts: Facts, targets: Iterable[Target]) -> Needs:
    """What the programs, drivers and devices of a config are."""
    targets = tuple(targets)
    modules = ["base", "udev-rules", "kernel-modules", "fs-lib"]
    if "dash" in facts.tools:
        modules.insert(0, "dash")  # before base, which takes bash where there is no sh yet
    programs, collectors = list(_ALWAYS), []
    perhaps = [*_PERHAPS, *(() if "busybox" in facts.tools else _END)]
    devices = [t.device for t in targets if isinstance(t, (Filesystem, Raw)) and t.device[0] in "/ULP"]
    if config.failure_action in ("dump_to_rootfs", "mount_root_run_init") and facts.root.device:
        devices.append(facts.root.device)
    if config.needs_network and facts.network.arguments:
        modules += [*facts.network_modules, "kernel-network-modules"]
    if config.ssh_targets:
        programs += ["ssh", "scp"]
        perhaps += _compressors(config)
    for target in targets:
        if isinstance(target, Nfs):
            modules.append("nfs")
        elif isinstance(target, Filesystem):
            if target.fstype in ("virtiofs", "btrfs"):
                modules.append(target.fstype)
            perhaps.append(f"fsck.{target.fstype}")
        collectors.append(_collector(config, target).words[0])
    programs += collectors
    for kind, module in _STORAGE:
        if any(found.startswith(kind) for found in facts.storage):
            modules.append(module)
    if config.fence_kdump_nodes:
        programs += [facts.fence_program] if facts.fence_program else []
        perhaps += _FENCE
    programs += config.extra_bins
    programs += [p for p in _scripts(config) if facts.programs.get(p, b"#!")[:2] != b"#!"]
    for path, data in facts.programs.items():
        programs += _interpreter(path, data)
    drivers = [
        *config.extra_modules,
        *facts.network.drivers,
        *facts.watchdogs,
        *(t.fstype for t in targets if isinstance(t, Filesystem)),
        # dracut's nfs module takes only what this host has loaded now
        *(driver for driver in _NFS_DRIVERS if any(isinstance(t, Nfs) for t in targets)),
    ]
    lease = any(word.startswith("ip=") and ":dhcp" in word for word in facts.network.arguments)
    # scripts of others expect the options of GNU's programs; so does who mounts a root
    ours_alone = _over_network_only(config) and "busybox" in facts.tools
    return Needs(
        _once(modules),
        _once(programs),
        _once(perhaps),
        _once(drivers),
        _once(devices),
        lease,
        keep=_once([*collectors, *config.extra_bins]) if ours_alone else ("*",),
        ciphers=not (_over_network_only(config) and all(isinstance(t, Ssh) for t in targets)),
    )


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def quick(config: Config, facts: Facts) -> bool:
    """Whether everything can be done without udev: network targets, plain cards, nobody else's scripts."""
    return bool(facts.network.quick) and _over_network_only(config)


def _over_network_only(config: Config) -> bool:
    """Neither a disk, nor a root to mount, nor others' scripts."""
    return (
        all(isinstance(target, (Ssh, Nfs)) for target in config.targets)
        and config.failure_action not in ("dump_to_rootfs", "mount_root_run_init")
        and not _scripts(config)
    )


def _compressors(config: Config) -> list[str]:
    match config.ssh_compress:
        case "none":
            return []
        case "auto":
            return ["zstd"] if config.nr_cpus > 1 else []
        case "gzip":
            return ["pigz", "gzip"]
        case name:
            return [name]


def _resolved(target: Target, config: Config, facts: Facts) -> Place:
    path = target.path or config.path
    if isinstance(target, Local):
        mount = facts.mounts.get(path, facts.root)
        return Place(Filesystem(mount.fstype, mount.device, path=path), mount.inside, mount.options)
    return Place(target, path)


def _collector(config: Config, target: Target) -> Collector:
    if check_for(config.collector, target):
        return swapped(config.collector, target) or config.collector
    return config.collector


def _scripts(config: Config) -> list[str]:
    return [p for p in (config.kdump_pre, config.kdump_post, config.kdump_emergency) if p]


def _interpreter(path: str, data: bytes) -> list[str]:
    """The program of a script's first line, and of ``env`` the one behind it."""
    if data[:2] != b"#!":
        return []
    words = data[2:].split(b"\n", 1)[0].decode(errors="replace").split()
    if words and PurePosixPath(words[0]).name == "env":
        return words[:1] + [w for w in words[1:] if not w.startswith("-") and "=" not in w][:1]
    return words[:1]


def _assign(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())


def _plan_text(config: Config, facts: Facts, places: list[Place]) -> str:
    storage = any(isinstance(place.target, (Filesystem, Raw)) for place in places)
    devices = []
    first = places[0].target
    if isinstance(first, (Filesystem, Raw)) and first.device[0] in "/ULP":
        devices.append(device_node(first.device))
    waits = [LEAST_WAIT, *([config.net_timeout] if config.needs_network else [])]
    waits += [config.disk_timeout] if storage else []
    root_fs = Filesystem(facts.root.fstype, facts.root.device)
    on_root = _collector(config, root_fs)
    return "# written by `kdump start`\n" + _assign(
        {
            "TARGETS": len(places),
            "WAIT_SECONDS": max(waits),
            "WAIT_DEVICES": " ".join(devices),
            "DISK_TIMEOUT": config.disk_timeout,
            "LINK_DELAY": config.link_delay,
            "NET_TIMEOUT": config.net_timeout,
            "STALL_TIMEOUT": config.stall_timeout,
            "CAPTURE_TIMEOUT": config.capture_timeout,
            "KDUMP_PRE": config.kdump_pre,
            "KDUMP_POST": config.kdump_post,
            "KDUMP_EMERGENCY": config.kdump_emergency,
            "FAILURE_ACTION": config.failure_action,
            "FINAL_ACTION": config.final_action,
            "DEBUG_MEM_LEVEL": config.debug_mem_level,
            "FENCE_NODES": " ".join(facts.addresses.get(n, n) for n in config.fence_kdump_nodes),
            "NODE_NAME": facts.hostname,
            "FENCE_PROGRAM": facts.fence_program,
            "FENCE_ARGS": " ".join(config.fence_kdump_args),
            "FENCE_KEY": f"{ETC}/fence.key" if facts.keys.get("fence.key") else "",
            "SSH_COMPRESS": config.ssh_compress,
            "EXTRA_MODULES": " ".join(config.extra_modules),
            "ROOT_DEVICE": facts.root.device,
            "ROOT_FSTYPE": facts.root.fstype,
            "ROOT_OPTIONS": facts.root.options,
            "ROOT_COLLECTOR_KIND": _kind(on_root),
            "ROOT_COLLECTOR": shlex.join(command_for(on_root, root_fs)),
            "SAVE_PATH": config.path,
        }
    )


def _target_text(config: Config, facts: Facts, spot: Place) -> str:
    target, path = spot.target, spot.path
    collector = _collector(config, target)
    values: dict[str, object] = {
        "LABEL": str(target),
        "SAVE_PATH": path,
        "COLLECTOR_KIND": _kind(collector),
        "COLLECTOR": shlex.join(command_for(collector, target)),
        "DELIVER_TO": "",
    }
    match target:
        case Ssh():
            values |= {
                "KIND": "ssh",
                "SSH_USER": target.user,
                "SSH_HOST": target.host,
                "SSH_PORT": target.port or "",
                "SSH_KEY": KEY,
                "ADDRESS": facts.addresses.get(target.host, target.host),
            }
        case Nfs():
            place = replace(target, host=facts.addresses.get(target.host, target.host))
            options = "rw,nolock,soft,timeo=100,retrans=3" + (",tcp" if target.version != 4 else "")
            values |= {
                "KIND": "fs",
                "FSTYPE": "nfs4" if target.version == 4 else "nfs",
                "DEVICE": str(place),
                "ADDRESS": place.host,
                "MOUNT_OPTIONS": options + (f",vers={target.version}" if target.version else ""),
            }
        case Filesystem():
            values |= {"KIND": "fs", "FSTYPE": target.fstype, "DEVICE": target.device, "ADDRESS": ""}
            values |= {"MOUNT_OPTIONS": spot.options or "rw", "DELIVER_TO": _deliver_to(config, target)}
        case Raw():
            values |= {"KIND": "raw", "DEVICE": target.device, "ADDRESS": ""}
    return _assign(values)


def _deliver_to(config: Config, target: Filesystem) -> str:
    """The first ssh target before this one: there its dump goes at the next boot."""
    return next((f"{number}" for number, t in enumerate(config.targets, 1) if isinstance(t, Ssh)), "")


def _kind(collector: Collector) -> str:
    return collector.program if collector.program in ("makedumpfile", "scp", "dd") else "copy"


def device_node(device: str) -> str:
    """The path udev makes for ``UUID=…`` and the like."""
    word, _, value = device.partition("=")
    return f"/dev/disk/by-{word.lower()}/{value}" if value and not device.startswith("/") else device


def _cmdline_text(config: Config, facts: Facts) -> str:
    words = [*facts.network.arguments] if config.needs_network else []
    words += [f"rd.driver.blacklist={module}" for module in config.blacklist]
    words += [f"rd.driver.post={module}" for module in config.extra_modules]
    wait = max(config.net_timeout if config.needs_network else 0, config.disk_timeout, LEAST_WAIT)
    words += [f"rd.retry={wait + 10}", "rd.shell=0", "rd.emergency=reboot", "rd.hostonly=1"]
    return "".join(f"{word}\n" for word in words)


def _quick_text(config: Config, facts: Facts) -> str:
    """Lines of ``driver NAME``, ``card NAME MAC`` and ip-batch, in the order they are done."""
    ipv6 = ["ipv6"] if any(" nodad" in row for row in facts.network.quick) else []
    drivers = [*facts.watchdogs, *facts.network.card_drivers, *ipv6]
    return "".join(f"{row}\n" for row in [*(f"driver {d}" for d in drivers), *facts.network.quick])


def _hosts_text(facts: Facts) -> str:
    rows = [f"127.0.0.1 localhost {facts.hostname}", "::1 localhost"]
    rows += [f"{address} {name}" for name, address in facts.addresses.items() if address and address != name]
    return "".join(f"{row}\n" for row in rows)


def _modprobe_text(config: Config) -> str:
    rows = [f"options {name} {' '.join(rest)}" for name, *rest in config.options]
    rows += [f"blacklist {module}\ninstall {module} /bin/false" for module in config.blacklist]
    return "".join(f"{row}\n" for row in rows)
