"""The settings file: defaults serve, mistakes are named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from receiver.settings import Settings, SettingsError, load
from tests.rig.receiver import PROGRAM


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rooot = '/x'", "rooot: no such setting"),
        ("workers = 0", "workers: Input should be greater than or equal to 1, not 0"),
        ("max_dump_bytes = 'much'", "max_dump_bytes: say a number of bytes or a size"),
        ("keep_free = -1", "keep_free: "),
        ("listen = ['here']", "listen.0: "),
        ("silence_seconds = 1", "silence_seconds: "),
        ("workers = [", "not TOML: "),
        ("workers = 'two'\nrooot = 1", "rooot: no such setting"),
    ],
)
def test_a_mistake_names_file_key_and_reason(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path)
    assert f"{path}: {says}" in str(raised.value)


def test_config_check_ends_with_78_and_a_sentence(tmp_path: Path) -> None:
    """EX_CONFIG of sysexits.h; no traceback."""
    path = tmp_path / "receiver.toml"
    path.write_text("workers = 1000")
    for file, says in ((path, "workers"), (tmp_path / "none.toml", "No such file or directory")):
        command = [str(PROGRAM), "--config", str(file), "config", "check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 78
        assert done.stderr.startswith(f"kdump-receiver: {file}: ")
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_config_check_shows_what_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text('max_dump_bytes = "2T"\nworkers = 3')
    command = [str(PROGRAM), "--config", str(path), "config", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    shown = json.loads(done.stdout)
    assert (shown["max_dump_bytes"], shown["workers"]) == (2 << 40, 3)
    assert set(shown) == set(Settings.model_fields)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1k", 1024), ("2 GiB", 2 << 30), ("16T", 16 << 40), ("3mb", 3 << 20), ("1 P", 1 << 50)],
)
def test_sizes_are_counted_in_1024(text: str, size: int) -> None:
    assert Settings.model_validate({"keep_free": text}).keep_free == size


def test_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text("root = '/elsewhere'")
    assert load(path, root=tmp_path).root == tmp_path
    assert load(path, root=None).root == Path("/elsewhere")
