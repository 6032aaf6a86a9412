"""core_collector is put right for each kind of target."""

from __future__ import annotations

import pytest

from sender.conf.collector import check_for, command_for, parse_collector, swapped
from sender.conf.targets import Filesystem, Nfs, Raw, Ssh, Target

SSH: Target = Ssh("a", "b")
DISK: Target = Filesystem("ext4", "/dev/vda1")
RAW: Target = Raw("/dev/vda2")
NFS: Target = Nfs("h", "/x")


@pytest.mark.parametrize(
    ("said", "target", "runs"),
    [
        ("makedumpfile -l --message-level 1 -d 31", SSH, "makedumpfile -F -l --message-level 1 -d 31"),
        ("makedumpfile -F -l -d 31", SSH, "makedumpfile -F -l -d 31"),
        ("makedumpfile -cF -d 31", SSH, "makedumpfile -F -c -d 31"),
        ("makedumpfile -F -c -d 31", DISK, "makedumpfile -c -d 31"),
        ("makedumpfile -Fc -d31", NFS, "makedumpfile -c -d31"),
        ("makedumpfile -c -d 31", RAW, "makedumpfile -F -c -d 31"),
        ("makedumpfile -d 31 --num-threads 4", SSH, "makedumpfile -F -d 31"),
        ("makedumpfile -d 31 --num-threads=4", RAW, "makedumpfile -F -d 31"),
        ("makedumpfile -d 31 --num-threads 4", DISK, "makedumpfile -d 31 --num-threads 4"),
        ("makedumpfile -E -d 31", SSH, "makedumpfile -F -E -d 31"),
        ("/opt/Fast/makedumpfile -d 31", SSH, "/opt/Fast/makedumpfile -F -d 31"),
        ("makedumpfile -x /boot/FF -d 31", DISK, "makedumpfile -x /boot/FF -d 31"),
        ("scp", SSH, "scp"),
        ("cp --sparse=always", DISK, "cp --sparse=always"),
        ("dd bs=1M", RAW, "dd bs=1M"),
    ],
)
def test_the_command_fits_the_target(said: str, target: Target, runs: str) -> None:
    """-F exactly where the stream goes through a pipe, threads exactly where it does not."""
    collector = parse_collector(said)
    assert check_for(collector, target) is None
    assert " ".join(command_for(collector, target)) == runs


@pytest.mark.parametrize(
    ("said", "target", "instead"),
    [("scp", DISK, "cp --sparse=always"), ("cp --sparse=always", SSH, "scp"), ("scp", RAW, "cat")],
)
def test_a_plain_copy_changes_its_program_on_a_fallback_of_another_kind(
    said: str, target: Target, instead: str
) -> None:
    """`core_collector scp` with `fallback local` must not lose the second chance."""
    collector = parse_collector(said)
    assert check_for(collector, target) is not None
    other = swapped(collector, target)
    assert other is not None
    assert " ".join(other.words) == instead
    assert " ".join(command_for(collector, target)) == instead
