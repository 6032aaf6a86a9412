"""A pretended host: a tree of the few files that matter, and on PATH fakes for all that touches a kernel."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sender.host import Host
from sender.verbs.session import Session

VERSION = "6.1.0-9-test"

FAKES = {
    "kexec": """
echo "kexec $*" >> $FAKE/log
loaded=$FAKE/root/sys/kernel/kexec_crash_loaded
fails() { [ -e "$FAKE/$1" ] && echo "$2" >&2; }
case " $* " in
    *" -u "*) fails unload.fails "not loaded" && exit 1; echo 0 > $loaded ;;
    *" -s "*)
        fails file-load.fails "kexec_file_load failed: Required key not available" && exit 255
        echo 1 > $loaded ;;
    *) fails old-load.fails "kexec_load failed: Operation not permitted" && exit 255; echo 1 > $loaded ;;
esac
""",
    "dracut": """
echo "dracut $*" >> $FAKE/log
cp "$kdumpnet_needs" $FAKE/needs
ls "$dracutbasedir/modules.d" > $FAKE/modules
[ ! -e $FAKE/dracut.fails ] || { echo "dracut: no space left" >&2; exit 1; }
for last; do :; done
printf 'BASE' > "$last"
""",
    "findmnt": """
row() {
    printf '{"filesystems":[{"source":"%s","fstype":"%s","target":"%s","uuid":"u-1","fsroot":"/"}]}' "$@"
}
if [ -e $FAKE/tmpfs ]; then row tmpfs tmpfs /; else row /dev/vda1 ext4 $FAKE/root; fi
""",
    "lsblk": """
lower='{"name":"vda1","type":"part"}'
echo '{"blockdevices":[{"name":"vg-root","type":"lvm","children":['$lower']}]}'
""",
    "ip": "cat $FAKE/ip.$3 2>/dev/null || cat $FAKE/ip\n",
    "getent": 'grep "^$2 " $FAKE/hosts | cut -d" " -f2; grep -q "^$2 " $FAKE/hosts\n',
    "logger": 'for last; do :; done; echo "$last" >> $FAKE/syslog\n',
    "makedumpfile": """
echo "makedumpfile $*" >> $FAKE/log
for last; do :; done
[ "$1" != -R ] || cat > /dev/null
echo core > "$last"
""",
    "reboot": 'echo "reboot $*" >> $FAKE/log\n',
    "sync": "",
    "dig": "exit 9\n",
}


@dataclass
class Fake:
    """``log`` is what was called, ``root`` the host's tree."""

    top: Path
    session: Session
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    @property
    def root(self) -> Path:
        return self.top / "root"

    @property
    def calls(self) -> list[str]:
        log = self.top / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def said(self) -> str:
        return self.out.getvalue()

    @property
    def warned(self) -> str:
        return self.err.getvalue()

    def conf(self, text: str) -> None:
        (self.root / "etc/kdump.conf").write_text(text)

    def put(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        return place

    def loaded(self) -> bool:
        return (self.root / "sys/kernel/kexec_crash_loaded").read_text().strip() == "1"

    def touch(self, name: str) -> None:
        (self.top / name).touch()

    def quiet(self) -> None:
        """Forget what was said and called so far."""
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        (self.top / "log").unlink(missing_ok=True)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A host with 256 MiB reserved, nothing loaded, a kernel and a dracut."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in FAKES.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}")
        (programs / name).chmod(0o755)
    dracut = tmp_path / "dracut"
    (dracut / "modules.d/99base").mkdir(parents=True)
    (dracut / "dracut-init.sh").touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("dracutbasedir", str(dracut))
    host = Host(tmp_path / "root", "x86_64", VERSION)
    out, err = io.StringIO(), io.StringIO()
    made = Fake(tmp_path, Session(host, "/etc/kdump.conf", out, err), out, err)
    made.put("/sys/kernel/kexec_crash_size", str(256 << 20))
    made.put("/sys/kernel/kexec_crash_loaded", "0\n")
    made.put("/proc/cmdline", "root=/dev/vda1 ro console=ttyS0 crashkernel=256M\n")
    made.put("/proc/meminfo", "MemTotal:        1000 kB\n")
    made.put("/proc/sys/kernel/hostname", "web01\n")
    made.put(f"/boot/vmlinuz-{VERSION}", "kernel")
    made.put("/etc/kdump.conf", "path /var/crash\n")
    (tmp_path / "hosts").write_text("server 192.0.2.9\nnode1 192.0.2.11\nself 192.0.2.5\n")
    card = {
        "ifname": "ens1",
        "address": "52:54:00:00:00:01",
        "addr_info": [{"family": "inet", "local": "192.0.2.5", "prefixlen": 24, "scope": "global"}],
    }
    (tmp_path / "ip").write_text(json.dumps([card]))
    for remote in ("192.0.2.9", "192.0.2.11"):
        (tmp_path / "ip.get").write_text(json.dumps([{"dst": remote, "dev": "ens1", "prefsrc": "192.0.2.5"}]))
    return made
