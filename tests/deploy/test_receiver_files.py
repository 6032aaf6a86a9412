"""deploy/receiver: the files an administrator installs say what the program does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from receiver.settings import Settings, load
from receiver.targets import Apprise, Fence, Program, Webhook

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
FILES = DEPLOY / "receiver"


def test_the_sample_explains_every_setting_and_shows_its_default() -> None:
    """A key that the sample does not name is a key that nobody finds."""
    text = (FILES / "receiver.toml").read_text()
    shown = tomllib.loads(re.sub(r"^# (\w+ = |\[)", r"\1", text, flags=re.MULTILINE))
    assert set(shown) == set(Settings.model_fields)
    blocks = Settings.model_validate({"notify": shown["notify"]}).notify
    assert [type(block) for block in blocks] == [Webhook, Apprise, Program, Fence]
    assert set(shown["notify"][0]) == set(Webhook.model_fields) - {"secret_env"}
    given = tomllib.loads(text)
    deployed = {"root", "state_dir"}  # paths of the installation, not defaults
    effective, defaults = load(FILES / "receiver.toml"), Settings()
    for key in given.keys() - deployed:
        assert getattr(effective, key) == getattr(defaults, key), key


def test_the_firewall_opens_the_ports_that_are_used() -> None:
    """firewalld's service names the socket unit's port and the settings' default."""
    ports = {
        port.get("port") for port in ElementTree.parse(FILES / "firewalld/kdump-receiver.xml").iter("port")
    }
    unit = (FILES / "systemd/kdump-receiver.socket").read_text()
    assert ports == {*re.findall(r"(?m)^ListenStream=(\d+)$", unit), Settings().listen[0].rpartition(":")[2]}


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say about them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    program = tmp_path / "kdump-receiver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in (FILES / "systemd").iterdir():
        text = unit.read_text().replace("/opt/kdump-net/bin/kdump-receiver", str(program))
        (tmp_path / unit.name).write_text(text.replace("Documentation=man:kdump-receiver(8)\n", ""))
    units = [str(tmp_path / unit.name) for unit in (FILES / "systemd").iterdir()]
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True, text=True, timeout=60, env=environment, check=False,
    )  # fmt: skip
    ours = [line for line in said.stderr.splitlines() if "kdump-receiver" in line]
    assert said.returncode == 0, ours
    assert not ours


def test_the_demo_tells_the_whole_story() -> None:
    """`make demo`: a real dump by the system's ssh, listed complete, verified, and no shell on the way."""
    told = subprocess.run(
        [DEPLOY / "demo.sh"], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert "exit status 126" in told
    assert re.search(r"crashnode1 +complete +6\.1\.192-tiny", told)
    assert "every one decompresses; sha256 same" in told
