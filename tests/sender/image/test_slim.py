"""What is left out of an image: nothing that a script of others, a disk or a driver of this host needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sender.capture import HERE
from sender.conf.model import read_text
from sender.image.plan import Facts, Mount, Needs, needs_of

SETUP = HERE / "99kdump-net" / "module-setup.sh"
KERNEL = "6.1.0-test"
SSH = "ssh kdump@server\n"
FACTS = Facts(
    root=Mount("UUID=r", "ext4", "/"), tools=frozenset(["busybox"]), programs={"/opt/x.sh": b"#!/bin/sh\n"}
)


def needs(conf: str, facts: Facts = FACTS) -> Needs:
    config = read_text(conf).config
    assert config is not None, conf
    return needs_of(config, facts, config.targets)


@pytest.mark.parametrize(
    ("conf", "keep", "ciphers"),
    [
        (SSH, ("makedumpfile",), False),
        (SSH + "extra_bins sed", ("makedumpfile", "sed"), False),
        (SSH + "core_collector scp", ("scp",), False),
        ("nfs server:/export", ("makedumpfile",), True),
        ("ext4 UUID=1", ("*",), True),
        (SSH + "fallback ext4 UUID=1", ("*",), True),
        (SSH + "kdump_post /opt/x.sh", ("*",), True),
        (SSH + "failure_action dump_to_rootfs", ("*",), True),
        (SSH + "failure_action mount_root_run_init", ("*",), True),
    ],
)
def test_who_may_do_without(conf: str, keep: tuple[str, ...], ciphers: bool) -> None:
    found = needs(conf)
    assert found.keep == keep
    assert found.ciphers is ciphers


def test_without_busybox_every_program_stays() -> None:
    assert needs(SSH, Facts()).keep == ("*",)


def call(function: str, tmp_path: Path, wanted: Needs) -> None:
    """A function of the dracut module, on the image in tmp_path/image."""
    (tmp_path / "needs").write_text(wanted.text())
    bin_ = tmp_path / "bin"
    bin_.mkdir(exist_ok=True)
    (bin_ / "busybox").write_text("#!/bin/sh\nprintf '%s\\n' awk cp grep less ls mount sed sh\n")
    (bin_ / "busybox").chmod(0o755)
    subprocess.run(
        ["bash", "-euc", f"source {SETUP}; {function}"],
        check=True,
        env={
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "initdir": str(tmp_path / "image"),
            "kernel": KERNEL,
            "srcmods": str(tmp_path / "modules"),
            "kdumpnet_needs": str(tmp_path / "needs"),
        },
    )


def test_busybox_stands_for_what_nobody_asked_for(tmp_path: Path) -> None:
    programs = tmp_path / "image" / "usr" / "bin"
    programs.mkdir(parents=True)
    for name in ("busybox", "cp", "grep", "ls", "mount", "sed", "mawk", "dash"):
        (programs / name).write_text(name)
        (programs / name).chmod(0o755)
    (programs / "awk").symlink_to("/etc/alternatives/awk")
    (programs / "sh").symlink_to("dash")
    call("_applets", tmp_path, needs(SSH + "extra_bins sed"))
    links = {path.name: str(path.readlink()) for path in programs.iterdir() if path.is_symlink()}
    assert links == {"awk": "busybox", "cp": "busybox", "grep": "busybox", "ls": "busybox", "sh": "dash"}
    assert (programs / "sed").read_text() == "sed"
    assert (programs / "mount").read_text() == "mount"
    assert not (programs / "mawk").exists()
    assert not (programs / "less").exists()


def test_scripts_of_others_get_the_programs_of_this_host(tmp_path: Path) -> None:
    programs = tmp_path / "image" / "usr" / "bin"
    programs.mkdir(parents=True)
    for name in ("busybox", "cp"):
        (programs / name).write_text(name)
        (programs / name).chmod(0o755)
    call("_applets", tmp_path, needs(SSH + "kdump_post /opt/x.sh"))
    assert not (programs / "cp").is_symlink()


def test_a_cipher_stays_that_a_driver_needs(tmp_path: Path) -> None:
    """Needed by another module through a third one, named in kdump.conf, or a checksum."""
    modules = {
        "kernel/drivers/net/card.ko": ["kernel/lib/crypto/libaes.ko.xz", "kernel/crypto/gf128mul.ko"],
        "kernel/lib/crypto/libaes.ko.xz": [],
        "kernel/crypto/gf128mul.ko": [],
        "kernel/crypto/serpent_generic.ko": ["kernel/crypto/gf128mul.ko"],
        "kernel/arch/x86/crypto/aesni-intel.ko": ["kernel/crypto/cryptd.ko"],
        "kernel/crypto/cryptd.ko": [],
        "kernel/crypto/ccm_mode.ko": ["kernel/crypto/cryptd.ko"],
        "kernel/crypto/crc32c_generic.ko": [],
        "kernel/lib/raid6/raid6_pq.ko": [],
        "kernel/fs/absent.ko": ["kernel/lib/raid6/raid6_pq.ko"],
    }
    home = tmp_path / "image" / "usr" / "lib" / "modules" / KERNEL
    for path in modules:
        if "absent" not in path:
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).touch()
    (tmp_path / "modules").mkdir()
    rows = [f"{path}: {' '.join(needed)}".rstrip() for path, needed in modules.items()]
    (tmp_path / "modules" / "modules.dep").write_text("\n".join(rows) + "\n")
    call("_ciphers", tmp_path, needs(SSH))
    left = {path.name for path in home.rglob("*.ko*")}
    assert left == {"card.ko", "libaes.ko.xz", "gf128mul.ko", "crc32c_generic.ko"}


def test_a_cipher_stays_that_kdump_conf_names(tmp_path: Path) -> None:
    home = tmp_path / "image" / "usr" / "lib" / "modules" / KERNEL / "kernel" / "crypto"
    home.mkdir(parents=True)
    for name in ("ccm_mode.ko", "cryptd.ko", "serpent.ko"):
        (home / name).touch()
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "modules.dep").write_text(
        "kernel/crypto/ccm_mode.ko: kernel/crypto/cryptd.ko\n"
        "kernel/crypto/cryptd.ko:\nkernel/crypto/serpent.ko:\n"
    )
    call("_ciphers", tmp_path, needs(SSH + "extra_modules ccm_mode"))
    assert {path.name for path in home.iterdir()} == {"ccm_mode.ko", "cryptd.ko"}
