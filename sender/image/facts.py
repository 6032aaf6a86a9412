"""Asks the running host what the capture image must know: names, routes, file systems, keys, scripts."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sender.conf.model import DEFAULT_KEY, Config
from sender.conf.targets import Filesystem, Local, Nfs, Raw, Ssh
from sender.failure import NotPossible
from sender.host import Host
from sender.image.network import Network, plan_network
from sender.image.plan import Facts, Mount, device_node

STATE = "/var/lib/kdump"
DRACUT_HOME = "/usr/lib/dracut"
PINNED = f"{STATE}/known_hosts"
ED25519_KEY = "/root/.ssh/kdump_id_ed25519"
FENCE_KEY = "/etc/kdump/fence.key"
FENCE_SENDERS = (
    "/usr/sbin/fence_kdump_send",
    "/usr/libexec/fence_kdump_send",
    "/usr/lib/fence_kdump_send",
    "/usr/libexec/fence-agents/fence_kdump_send",
    "/usr/lib/fence-agents/fence_kdump_send",
)
_VANISHING = ("tmpfs", "ramfs", "overlay", "devtmpfs", "rootfs", "aufs", "squashfs", "iso9660")


def gather(host: Host, config: Config, patience: float = 0) -> tuple[Facts, tuple[str, ...]]:
    """The facts, and warnings for the operator.

    At boot names do not resolve and routes are not there at once: ``patience`` is how many seconds to wait.

    Raises:
        NotPossible: a file named by kdump.conf is not there, or a directory lies on no disk.
    """
    warnings: list[str] = []
    # what is wrong on this host is told at once; only then the network is waited for
    keys, programs = _keys(host, config, warnings), _programs(host, config)
    mounts, devices = _storage_places(host, config)
    dumps_to_root = config.failure_action in ("dump_to_rootfs", "mount_root_run_init")
    root = where_is(host, "/") if dumps_to_root else Mount("", "")
    addresses, network = _reachable(host, config, patience, warnings)
    return (
        Facts(
            addresses=addresses,
            network=network,
            mounts=mounts,
            root=root,
            storage=_storage(host, devices),
            hostname=_hostname(host),
            keys=keys,
            fence_program=next((p for p in FENCE_SENDERS if host.path(p).exists()), ""),
            programs=programs,
            network_modules=_network_modules(host),
            tools=_tools(host),
            watchdogs=_watchdog_drivers(host),
        ),
        tuple(warnings),
    )


def _storage_places(host: Host, config: Config) -> tuple[dict[str, Mount], list[str]]:
    """Where the local targets' directories lie, and every device that a target names or means."""
    mounts: dict[str, Mount] = {}
    devices: list[str] = []
    for target in config.targets:
        if isinstance(target, Local):
            path = target.path or config.path
            mounts[path] = where_is(host, path.split("%")[0])
            devices.append(mounts[path].device)
        elif isinstance(target, (Filesystem, Raw)):
            devices.append(target.device)
            if target.device[0] in "/ULP" and not host.path(device_node(target.device)).exists():
                word = target.fstype if isinstance(target, Filesystem) else "raw"
                bad = "Bad mount point" if isinstance(target, Filesystem) else "Bad raw partition"
                what = f"{bad} {target.device}: there is no such device"
                word = word if target is config.targets[0] else "fallback"
                raise NotPossible(str(config.problem(word, what, "see `lsblk -f` for those there are")))
    return mounts, [device for device in devices if device[:1] in "/ULP"]


def _reachable(
    host: Host, config: Config, patience: float, warnings: list[str]
) -> tuple[dict[str, str], Network]:
    """Addresses and network once all of them are there, or what there is when patience ends."""
    if not config.needs_network:
        return {}, Network()
    deadline = time.monotonic() + patience
    while True:
        lacking: list[str] = []
        addresses = _addresses(host, config, lacking)
        network = _network(host, addresses, lacking)
        if not lacking or time.monotonic() >= deadline:
            warnings += lacking
            return addresses, network
        time.sleep(1)


def key_path(host: Host, config: Config) -> str:
    """The private key of ssh targets: the configured one, else ours, else RHEL's default."""
    if config.sshkey and host.path(config.sshkey).exists():
        return config.sshkey
    if host.path(ED25519_KEY).exists() and not config.sshkey:
        return ED25519_KEY
    return DEFAULT_KEY


def where_is(host: Host, path: str) -> Mount:
    """The device and file system that hold ``path``, which need not exist yet.

    Raises:
        NotPossible: it lies on nothing that outlives a reboot.
    """
    place = Path(path or "/")
    while not host.path(place).exists() and place != place.parent:
        place = place.parent
    ran = host.run(
        ["findmnt", "-J", "-T", str(host.path(place)), "-o", "SOURCE,FSTYPE,TARGET,UUID,FSROOT"], 20
    )
    found = _first(ran.out, "filesystems")
    fstype = str(found.get("fstype") or "")
    if not found or fstype in _VANISHING:
        raise NotPossible(
            f"{path} lies on {fstype or 'no file system that findmnt knows'}, which a reboot empties;"
            " name a target in kdump.conf, or a path on a disk"
        )
    if fstype.startswith("nfs"):
        raise NotPossible(f"{path} lies on NFS; write `nfs {found.get('source')}` and a path inside it")
    source = str(found.get("source") or "").split("[")[0]
    if not source.startswith("/dev/") and fstype != "virtiofs":
        raise NotPossible(
            f"{path} lies on {source or fstype}, which is no block device; name a target in kdump.conf"
        )
    base = str(found.get("fsroot") or "/")
    # below a symbolic link the directory may lie on another file system than its name says
    real = host.path(place).resolve() / host.path(path).relative_to(host.path(place))
    inside = "/" + os.path.relpath(real, str(found["target"])).removeprefix(".")
    options = f"rw,subvol={base}" if fstype == "btrfs" and base != "/" else "rw"
    if base != "/" and fstype != "btrfs":
        inside = base + inside  # a bind mount: the directory is deeper on the device
    uuid = found.get("uuid")
    device = f"UUID={uuid}" if uuid and fstype != "virtiofs" else source
    return Mount(device, fstype, inside.rstrip("/") or "/", options)


def _addresses(host: Host, config: Config, warnings: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    names = [t.host for t in config.targets if isinstance(t, (Ssh, Nfs))]
    for name in [*names, *config.fence_kdump_nodes]:
        ran = host.run(["getent", "ahosts", name], 30)
        words = ran.out.split()
        if ran.status == 0 and words:
            found[name] = words[0]
        else:
            warnings.append(f"{name} does not resolve now; the capture kernel will have to ask DNS itself")
    own = {
        a["local"]
        for link in _json(host.run(["ip", "-j", "address"], 20).out)
        for a in link.get("addr_info", [])
    }
    for node in config.fence_kdump_nodes:
        if found.get(node) in own:
            problem = config.problem(
                "fence_kdump_nodes",
                f"Option fence_kdump_nodes cannot contain {node}: it is this host",
                "remove it",
            )
            raise NotPossible(str(problem))
    return found


def _network(host: Host, addresses: dict[str, str], warnings: list[str]) -> Network:
    remotes = dict.fromkeys(addresses.values())
    routes = [(remote, host.run(["ip", "-j", "route", "get", remote], 20).out) for remote in remotes]
    network = plan_network(
        host.run(["ip", "-j", "-d", "address"], 20).out, routes, _nameservers(host), _hostname(host)
    )
    warnings += network.warnings
    return replace(network, card_drivers=_card_drivers(host, network.interfaces))


def _card_drivers(host: Host, interfaces: Iterable[str]) -> tuple[str, ...]:
    """The kernel modules of the cards and of the buses they sit on, the bus first."""
    found: dict[str, None] = {}
    for name in interfaces:
        found |= dict.fromkeys(_drivers_of(host, host.path(f"/sys/class/net/{name}/device")))
    return tuple(found)


def _watchdog_drivers(host: Host) -> tuple[str, ...]:
    """Of the hardware watchdogs: one that runs goes on running through the crash, and has to be fed."""
    found: dict[str, None] = {}
    for watchdog in sorted(host.path("/sys/class/watchdog").glob("watchdog*")):
        found |= dict.fromkeys(_drivers_of(host, watchdog / "device"))
    return tuple(found)


def _drivers_of(host: Host, device: Path) -> list[str]:
    """The kernel modules of a device of sysfs and of those it hangs on, the outermost first."""
    chain: list[str] = []
    place = device.resolve() if device.exists() else host.path("/")
    while place != place.parent and place != host.path("/sys/devices"):
        module = place / "driver/module"
        if module.exists():
            chain.insert(0, module.resolve().name)
        place = place.parent
    return chain


def _network_modules(host: Host) -> tuple[str, ...]:
    """dracut's module that configures interfaces: the plain one where it is, because it needs no systemd."""
    systemd = ("systemd", "systemd-initrd", "dracut-systemd")
    legacy = any(host.path(f"{DRACUT_HOME}/modules.d").glob("??network-legacy"))
    if legacy and all(shutil.which(program) for program in ("dhclient", "arping", "pgrep", "awk", "expr")):
        return ("network-legacy", "network")
    manager = [f"/usr/{place}/nm-initrd-generator" for place in ("libexec", "lib", "lib/NetworkManager")]
    if any(host.path(name).exists() for name in manager):
        return (*systemd, "network-manager", "network")
    return (*systemd, "systemd-networkd", "network")


def _tools(host: Host) -> frozenset[str]:
    """Programs of this host that make others unnecessary in the image."""
    tools = {"busybox"} if shutil.which("busybox") else set()
    if shutil.which("dash") and host.path(f"{DRACUT_HOME}/modules.d/00dash").exists():
        tools.add("dash")
    return frozenset(tools)


def _nameservers(host: Host) -> list[str]:
    for name in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        rows = [line.split() for line in (host.read(name) or "").splitlines()]
        servers = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
        if any(not server.startswith("127.") for server in servers):
            return servers
    return []


def _storage(host: Host, devices: list[str]) -> frozenset[str]:
    kinds: set[str] = set()
    for device in devices:
        ran = host.run(["lsblk", "-J", "-s", "-o", "NAME,TYPE", str(host.path(device_node(device)))], 20)
        stack = list(json.loads(ran.out).get("blockdevices", [])) if ran.status == 0 and ran.out else []
        while stack:
            node = stack.pop()
            kinds.add(str(node.get("type")))
            stack += node.get("children", [])
    return frozenset(kinds)


def _hostname(host: Host) -> str:
    return (host.read("/proc/sys/kernel/hostname") or host.read("/etc/hostname") or "localhost").strip()


def _keys(host: Host, config: Config, warnings: list[str]) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    fence = host.path(FENCE_KEY)
    if config.fence_kdump_nodes and fence.exists():
        keys["fence.key"] = fence.read_bytes()
    if not config.ssh_targets:
        return keys
    path = key_path(host, config)
    if config.sshkey and path != config.sshkey:
        warnings.append(f"WARNING: '{config.sshkey}' doesn't exist, using default value '{path}'")
    if not host.path(path).exists():
        raise NotPossible(f"{path}: there is no such key; run `kdump propagate`")
    keys["key"] = host.path(path).read_bytes()
    lines: list[str] = []
    for target in config.ssh_targets:
        found = known_host_lines(host, target)
        if not found:
            raise NotPossible(
                f"the host key of {target.host} is not known; run `kdump propagate`, which shows and pins it"
            )
        lines += found
    keys["known_hosts"] = "".join(f"{line}\n" for line in dict.fromkeys(lines)).encode()
    return keys


def known_host_lines(host: Host, target: Ssh) -> list[str]:
    """The lines of every known_hosts of this host that speak of the target: ours first, then root's."""
    name = f"[{target.host}]:{target.port}" if target.port not in (0, 22) else target.host
    lines: list[str] = []
    for file in (PINNED, "/root/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"):
        if host.path(file).exists():
            ran = host.run(["ssh-keygen", "-F", name, "-f", str(host.path(file))], 20)
            lines += [line for line in ran.out.splitlines() if line and not line.startswith("#")]
    return lines


def _programs(host: Host, config: Config) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for word in ("kdump_pre", "kdump_post", "kdump_emergency"):
        path = getattr(config, word)
        if not path:
            continue
        file = host.path(path)
        if not file.is_file() or not file.stat().st_mode & 0o111:
            problem = config.problem(word, f"{path} not executable or not found", "make it, and chmod +x it")
            raise NotPossible(str(problem))
        found[path] = file.read_bytes()
    for path in config.extra_bins:
        if path.startswith("/") and not host.path(path).is_file():
            raise NotPossible(
                str(config.problem("extra_bins", f"{path} is not there", "install it, or remove it"))
            )
    return found


def _json(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text or "[]")
    except ValueError:
        return []
    return [item for item in value if isinstance(item, dict)]


def _first(text: str, key: str) -> dict[str, Any]:
    try:
        rows = json.loads(text or "{}").get(key, [])
    except ValueError:
        return {}
    return rows[0] if rows else {}
