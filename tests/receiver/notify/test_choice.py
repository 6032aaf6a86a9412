"""Who is told of what, and the [[notify]] blocks that say so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from receiver.catalogue.journal import Entry
from receiver.events import (
    Event,
    GaveUp,
    GroupAppeared,
    HostKeyChanged,
    Reported,
    UploadFailed,
    UploadFinished,
    name_of,
    to_fields,
)
from receiver.notify.choice import wants
from receiver.settings import SettingsError, load
from receiver.targets import Fence, Program, Webhook
from tests.rig.receiver import PROGRAM


def entry(event: Event) -> Entry:
    fields = to_fields(event)
    return Entry(
        1, "2026-11-23T10:00:00.000Z", name_of(event), fields.get("host"), fields.get("dump"), fields
    )


def webhook(**keys: Any) -> Webhook:
    return Webhook(kind="webhook", name="w", url="https://example.org/", **keys)


REPORT = entry(Reported("web01", "d", "null-pointer", "oops", "s", "complete"))
NEW = entry(GroupAppeared("web01", "d", "s", "null-pointer", "oops", "complete"))
FAILED = entry(UploadFailed("db1", "p", "/c/d/vmcore", "disk full"))
FINISHED = entry(UploadFinished("web01", "p", "d", "d", "vmcore", 1, 1, 1.0, "elf", "complete", ""))
README = entry(
    UploadFinished("web01", "p", "d", "d", "README.txt", 1, 1, 1.0, "text", "unknown", "", core=False)
)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, [REPORT, FAILED]),
        ({"new_group": True}, [NEW, FAILED]),
        ({"events": ["upload.*"]}, [FAILED, FINISHED, README]),
        ({"events": ["group.new", "dump.reported"]}, [REPORT, NEW]),
        ({"events": ["*"], "hosts": ["db*"]}, [FAILED]),
        ({"events": ["*"], "classes": ["null-pointer"]}, [REPORT, NEW]),
        ({"events": ["*"], "verdicts": ["complete"]}, [REPORT, NEW, FINISHED]),
        ({"classes": ["hard-lockup"]}, []),
    ],
)
def test_each_part_of_a_filter_narrows(keys: dict[str, Any], told: list[Entry]) -> None:
    """What has no host, class or verdict passes no filter by it."""
    target = webhook(**keys)
    assert [one for one in (REPORT, NEW, FAILED, FINISHED, README) if wants(target, one)] == told


def test_what_is_nobodys_host_is_told_where_every_host_is() -> None:
    changed = entry(HostKeyChanged("ed25519", "a", "b"))
    assert wants(webhook(events=["*"]), changed)
    assert not wants(webhook(events=["*"], hosts=["web*"]), changed)


def test_nobody_is_told_that_he_was_not_told() -> None:
    """Or a dead endpoint would fill its own outbox for ever; another target hears of it."""
    gave_up = entry(GaveUp("w", 5, "waited too long"))
    assert not wants(webhook(events=["*"]), gave_up)
    assert wants(Program(kind="program", name="p", argv=("/bin/true",), events=("*",)), gave_up)


def test_a_fence_hears_of_cores_only() -> None:
    """A README that arrived says nothing of the dump."""
    target = Fence(kind="fence", name="f", url="https://fence.example.org", hosts=("web*",))
    assert wants(target, FINISHED)
    assert not any(wants(target, one) for one in (README, FAILED, REPORT, NEW))


BLOCK = '[[notify]]\nname = "x"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BLOCK + 'kind = "pigeon"', "notify.0: Input tag 'pigeon'"),
        (BLOCK + 'kind = "webhook"', "notify.0.webhook.url: Field required"),
        (BLOCK + 'kind = "webhook"\nurl = "ftp://x/"', "notify.0.webhook.url: say http://HOST"),
        (BLOCK + 'kind = "webhook"\nurl = "https://u:hunter2@x/"', "no password in a URL"),
        (BLOCK + 'kind = "webhook"\nurl = "https://x/"\nevents = ["dumps"]', "no such event; there are"),
        (BLOCK + 'kind = "webhook"\nurl = "https://x/"\nsecret = "hunter2"', "secret: no such setting"),
        (BLOCK + 'kind = "apprise"', "say urls or urls_file"),
        (BLOCK + 'kind = "program"\nargv = ["true"]', "absolute path"),
        (BLOCK + 'kind = "fence"', "say either socket or url"),
        (BLOCK + 'kind = "apprise"\nurls = "mailto://u:hunter2@x"', "notify.0.apprise.urls: "),
        ((BLOCK + 'kind = "program"\nargv = ["/bin/true"]\n') * 2, "the name 'x' is given twice"),
        ('[[notify]]\nname = "a b"\nkind = "program"\nargv = ["/bin/true"]', "notify.0.program.name: "),
    ],
)
def test_a_mistake_in_a_block_is_named_without_its_secrets(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path)
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_config_check_shows_the_blocks_and_no_password(tmp_path: Path) -> None:
    """Its output ends up in tickets."""
    path = tmp_path / "receiver.toml"
    path.write_text(BLOCK + 'kind = "apprise"\nurls = ["mailto://u:hunter2@example.org"]')
    command = [str(PROGRAM), "--config", str(path), "config", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (block,) = json.loads(done.stdout)["notify"]
    assert (block["kind"], block["name"]) == ("apprise", "x")
    assert "hunter2" not in done.stdout
