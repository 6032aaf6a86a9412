"""The settings file: defaults serve, mistakes are named."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from receiver.settings import Retention, Settings, SettingsError, load
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keep_free = '101%'", "keep_free: a part of the file system is at most 100%"),
        ("max_use = 'lots'", 'max_use: say a number of bytes, a size like "16T", or a part like "5%"'),
        ("host_quota = true", "host_quota: say a number of bytes"),
        ("[quota]\nweb01 = -1", "quota.web01: say a number of bytes"),
        ("[retention]\ncore_age = '90 lightyears'", "retention.core_age: say a number of seconds or a time"),
        ("[retention]\ncore_age = 0", "retention.core_age: "),
        ("[retention]\nkeep = ['mine']", "retention.keep.0: "),
        ("[retention]\ncores = 3", "retention.cores: no such setting"),
    ],
)
def test_a_mistake_about_space_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path)
    assert f"{path}: {says}" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 90 * 86400), ("12 hours", 43200), ("2y", 2 * 365 * 86400), ("6w", 6 * 604800), ("30min", 1800)],
)
def test_times_are_said_as_people_say_them(text: str, seconds: float) -> None:
    assert Settings.model_validate({"retention": {"core_age": text}}).retention.core_age == seconds


def test_amounts_are_sizes_or_parts() -> None:
    chosen = Settings.model_validate({"max_use": "80 %", "keep_free": "2G", "quota": {"web01": "1.5%"}})
    assert (chosen.max_use, chosen.keep_free, chosen.quota) == ("80%", 2 << 30, {"web01": "1.5%"})


def test_the_sample_explains_every_key_about_space(tmp_path: Path) -> None:
    """With the comment signs taken away it is a file that is accepted."""
    sample = (Path(__file__).parents[2] / "deploy/receiver/receiver.toml").read_text()
    keys = {"max_use", "keep_free", "host_quota", "dumps_per_host", "prune_seconds", *Retention.model_fields}
    sample = sample.partition("[[notify]]")[0]  # has a `keep` of its own
    shown = dict(re.findall(r"^(?:# )?(\w+) = (.+)$", sample, re.MULTILINE))
    assert keys <= shown.keys()
    path = tmp_path / "receiver.toml"
    rules = "\n".join(f"{key} = {shown[key]}" for key in Retention.model_fields)
    limits = "\n".join(f"{key} = {shown[key]}" for key in keys - set(Retention.model_fields))
    path.write_text(f"{limits}\n[quota]\nweb01 = {shown['web01']}\n[retention]\n{rules}\n")
    assert load(path).retention.core_age == 90 * 86400
