"""deploy/sender: the SysV script and the systemd unit say what the seed says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parent.parent.parent.parent / "deploy/sender"


@pytest.fixture
def script(tmp_path: Path) -> tuple[Path, Path]:
    """The script, and the log of a `kdump` that only writes its verb down."""
    log = tmp_path / "log"
    fake = tmp_path / "kdump"
    fake.write_text(f'#!/bin/sh\necho "$1" >> {log}\n[ "$1" != status ] || exit ${{STATUS:-0}}\n')
    fake.chmod(0o755)
    return fake, log


def run(fake: Path, *words: str, status: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(DEPLOY / "kdump.init"), *words],
        env={"KDUMP": str(fake), "PATH": "/usr/bin:/bin", "STATUS": status},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_chkconfig_finds_its_runlevels() -> None:
    """`chkconfig kdump on` gives 2:on 3:on 4:on 5:on."""
    assert "# chkconfig: 2345 " in (DEPLOY / "kdump.init").read_text()


def test_no_verb_is_answered_with_the_usage(script: tuple[Path, Path]) -> None:
    """The seed's line, status 1."""
    done = run(script[0])
    assert done.returncode == 1
    assert done.stdout.endswith("kdump.init {start|stop|status|restart|propagate}\n")


@pytest.mark.parametrize("verb", ["start", "stop", "status", "restart", "propagate"])
def test_each_verb_is_the_commands_own(script: tuple[Path, Path], verb: str) -> None:
    """The script adds nothing to it."""
    assert run(script[0], verb).returncode == 0
    assert script[1].read_text().splitlines()[0] == verb


def test_condrestart_only_touches_what_is_loaded(script: tuple[Path, Path]) -> None:
    """1 where it was not, as RHEL 6."""
    assert run(script[0], "condrestart", status="3").returncode == 1
    assert script[1].read_text() == "status\n"
    assert run(script[0], "condrestart").returncode == 0
    assert script[1].read_text().splitlines()[-1] == "restart"


def test_the_script_is_clean() -> None:
    """shellcheck finds nothing."""
    subprocess.run(["shellcheck", str(DEPLOY / "kdump.init")], check=True)


def test_the_unit_does_not_pull_in_the_network() -> None:
    """A host with a local target boots without one; with a net target `kdump start` waits itself."""
    unit = (DEPLOY / "kdump.service").read_text()
    assert "Wants=network-online" not in unit
    assert "Requires=" not in unit
    assert "After=network.target network-online.target" in unit
