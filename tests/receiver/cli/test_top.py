"""`top`: on a terminal, in a pipe, and for programs; with uploads that are really under way."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.settings import Settings
from receiver.spool import manifest
from receiver.spool.dumps import Spool
from receiver.spool.writer import Upload
from receiver.stores import enlist, open_catalogue
from receiver.wire.paths import parse_untrusted
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump
from tests.rig.receiver import PROGRAM, Client, Receiver
from tests.rig.terminal import Terminal

KDUMP = Kdump({n: os.urandom(4096) for n in range(256)}, release="6.1.0-test")
STREAM = flattened.stream(KDUMP.writes())
HALF = len(STREAM) // 2
EVIL_NAME = "vmcore[red]\\[bold]"
EVIL_TITLE = "Oops\x1b[2J\u202e\r\n[red]\x9b2J"


class Scene:
    """A spool with one stored dump, and uploads on their way into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = Spool(root, root / ".state")
        self.settings = Settings(root=root)
        self.under_way: list[Upload] = []

    def store(self, host: str, path: str, data: bytes = STREAM, broken: str | None = None) -> None:
        stored = uploads.Host(self.spool, host, clock=time.time).send(path, data, broken=broken)
        with self.spool.changing(stored.dump.directory) as directory:
            self.spool.write(replace(manifest.load(directory), title=EVIL_TITLE))
        self.enlist(stored.dump.directory)

    def enlist(self, directory: str) -> None:
        catalogue = open_catalogue(self.settings)
        enlist(self.spool, catalogue, directory)
        catalogue.close()

    def begin(self, host: str, path: str) -> Upload:
        """An upload of which a half has come."""
        upload = uploads.Host(self.spool, host, clock=time.time).view.begin(parse_untrusted(path), "dd")
        self.under_way.append(upload)
        upload.write(STREAM[:HALF])
        upload.write(b"")  # its headers are in: a second note tells how far it is
        return upload

    def finish(self, upload: Upload) -> None:
        self.under_way.remove(upload)
        upload.write(STREAM[HALF:])
        self.enlist(upload.finish().dump.directory)

    def top(self, *arguments: str) -> str:
        command = [str(PROGRAM), "--root", str(self.root), "top", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for upload in scene.under_way:
        upload.finish("the test is over")


def test_json_tells_what_is_under_way_and_what_has_come(scene: Scene) -> None:
    """One document: exact progress, whose it is, the room, and that no server runs."""
    scene.store("db01", "/var/crash/h-1/vmcore.flat")
    scene.begin("web01", "/var/crash/h-2/vmcore.flat")
    told: dict[str, Any] = json.loads(scene.top("--json"))
    (upload,) = told["uploads"]
    assert (upload["host"], upload["requested"], upload["wire_bytes"]) == ("web01", ["vmcore.flat"], HALF)
    assert upload["exact"]
    assert upload["total_pages"] == 256
    assert 0.3 < upload["fraction"] < 0.7
    assert {"bytes_per_second", "eta_seconds", "silent_seconds", "peer", "kernel_release"} <= set(upload)
    (stored,) = told["latest"]
    assert (stored["host"], stored["verdict"]) == ("db01", "complete")
    assert told["space"]["total"] > told["space"]["available"] > 0
    assert told["server"] is None


def test_a_pipe_gets_one_look_as_plain_text(scene: Scene) -> None:
    """No control characters, whatever the clients called their files."""
    scene.store("db01", f"/var/crash/h-1/{EVIL_NAME}")
    scene.begin("web01", f"/var/crash/h-2/{EVIL_NAME}")
    shown = scene.top()
    assert shown.splitlines()[0].endswith("no server runs here")
    assert EVIL_NAME in shown
    assert "Oops\ufffd[2J\ufffd\ufffd\ufffd[red]\ufffd2J" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_follow_gives_a_document_a_line(scene: Scene) -> None:
    """Each is a look of its own: the upload of the first is stored in a later one."""
    upload = scene.begin("web01", "/var/crash/h-2/vmcore.flat")
    command = [str(PROGRAM), "--root", str(scene.root), "top", "--json", "--follow", "--interval", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert len(json.loads(process.stdout.readline())["uploads"]) == 1
        scene.finish(upload)
        told = next(told for line in process.stdout if not (told := json.loads(line))["uploads"])
        assert [dump["host"] for dump in told["latest"]] == ["web01"]
        process.terminate()


def test_a_screen_moves_and_q_leaves(scene: Scene) -> None:
    """Half an upload, then the stored dump with its verdict; the terminal is as before."""
    upload = scene.begin("web01", "/var/crash/h-2/vmcore.flat")
    with Terminal([str(PROGRAM), "--root", str(scene.root), "top", "--interval", "0.1"]) as terminal:
        shown = terminal.until(r"web01 +vmcore\.flat +dd +192\.0\.2\.7 .* \d\d\.\d%")
        assert "━" in shown, "a bar"
        assert b"\x1b[?1049h" in terminal.raw, "a screen of its own"
        scene.finish(upload)
        terminal.until(r"No uploads just now(.|\n)*web01 +complete")
        assert terminal.colours("complete") == {"green"}
        terminal.type("q")
        assert terminal.end() == 0
        assert b"\x1b[?1049l" in terminal.raw
        assert b"\x1b[?25h" in terminal.raw, "the cursor is back"


def test_ctrl_c_leaves_in_order(scene: Scene) -> None:
    """Status 0: that is how one leaves a `top`."""
    with Terminal([str(PROGRAM), "--root", str(scene.root), "top"]) as terminal:
        terminal.until("No uploads just now")
        terminal.type("\x1b[A")  # an arrow key is not Escape
        terminal.type("\x03")
        assert terminal.end() == 0
        assert b"Traceback" not in terminal.raw


def test_a_resized_terminal_is_drawn_anew_at_once(scene: Scene) -> None:
    """Not a second later, and no line is longer than the screen."""
    for number in range(12):
        scene.begin(f"web{number:02}", f"/var/crash/h-{number}/vmcore.flat")
    command = [str(PROGRAM), "--root", str(scene.root), "top", "--interval", "3600"]
    with Terminal(command, columns=140, lines=40) as terminal:
        terminal.until("web11")
        terminal.resize(60, 12)
        shown = terminal.until(r"and \d+ more")
        assert "web00" in shown
        assert "web11" not in shown
        terminal.resize(140, 40)
        terminal.until("web11")
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.parametrize("size", [(1, 1), (20, 3), (500, 200)])
def test_any_size_of_terminal_will_do(scene: Scene, size: tuple[int, int]) -> None:
    """Also one that nobody can read."""
    scene.store("db01", f"/var/crash/h-1/{EVIL_NAME}")
    scene.begin("web01", f"/var/crash/h-2/{EVIL_NAME}")
    with Terminal(
        [str(PROGRAM), "--root", str(scene.root), "top"], columns=size[0], lines=size[1]
    ) as terminal:
        terminal.until(lambda shown: shown.strip() != "")
        terminal.type("q")
        assert terminal.end() == 0
        assert b"Traceback" not in terminal.raw
        assert b"Oops\x1b" not in terminal.raw
        assert "\u202e".encode() not in terminal.raw
        assert "\x9b".encode() not in terminal.raw


def test_without_a_catalogue_the_uploads_still_show(scene: Scene) -> None:
    """It is an index; a screen that shows nothing while it is away would be of no use."""
    scene.begin("web01", "/var/crash/h-2/vmcore.flat")
    (scene.root / ".state" / "catalogue.sqlite").write_bytes(b"no database" * 1000)
    told = json.loads(scene.top("--json"))
    assert len(told["uploads"]) == 1
    assert "catalogue" in told["trouble"]


def test_a_running_server_is_named(tmp_path: Path) -> None:
    """With its address, while a real ssh sends."""
    with Receiver(tmp_path) as receiver:
        client = Client.enrolled(receiver, "web01")
        target = ["ssh", *client.options, "-p", str(receiver.port), client.target]
        with subprocess.Popen([*target, "dd of=/var/crash/h-1/vmcore"], stdin=subprocess.PIPE) as sender:
            assert sender.stdin
            sender.stdin.write(STREAM[:HALF])
            sender.stdin.flush()
            command = ["--config", str(receiver.config), "top", "--interval", "0.1"]
            with Terminal([str(PROGRAM), *command], columns=160) as terminal:
                shown = terminal.until("web01 +vmcore +dd")
                assert f"on ssh 127.0.0.1:{receiver.port}" in shown
                sender.stdin.write(STREAM[HALF:])
                sender.stdin.close()
                terminal.until("web01 +complete")
        assert sender.returncode == 0


def test_a_wrong_root_is_said(tmp_path: Path) -> None:
    command = [str(PROGRAM), "--root", str(tmp_path / "none"), "top"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{tmp_path / 'none'}: No such file or directory; see `root`" in done.stderr
