"""Tab in real shells: verbs, options, and the names of dumps, hosts, groups and tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver.cli import complete
from receiver.spool import manifest
from receiver.spool.dumps import Spool
from tests.builders import flattened, uploads
from tests.builders.kdump import Kdump
from tests.rig.receiver import PROGRAM, keygen
from tests.rig.terminal import Terminal

STREAM = flattened.stream(Kdump({n: os.urandom(4096) for n in range(8)}).writes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two dumps of different hosts."""
    spool = Spool(tmp_path, tmp_path / ".state")
    for name in ("web01", "db01"):
        uploads.Host(spool, name).send(f"/var/crash/{name}-1/vmcore.flat", STREAM)
    return tmp_path


def offered(program: str, *words: str, root: Path | None = None) -> list[str]:
    """What the program offers for the last of `words`."""
    given = ["--root", str(root)] if root else []
    line = [program, *given, *words]
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    environment = os.environ | {
        variable: "bash_complete",
        "COMP_WORDS": "\n".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    command = [str(PROGRAM.with_name(program))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [
        value for kind, _, value in (row.partition(",") for row in done.stdout.split()) if kind == "plain"
    ]


def test_dumps_hosts_and_tokens_are_offered_by_name(root: Path) -> None:
    """As they lie in the directories: no catalogue, no server."""
    ids = {manifest.load(root / f"{host}-1").id for host in ("web01", "db01")}
    assert set(offered("kdump-receiver", "info", "", root=root)) == ids
    (one, *_) = ids
    assert offered("kdump-receiver", "verify", one[:4], root=root) == [one]
    assert set(offered("kdump-receiver", "list", "--host", "", root=root)) == {"web01", "db01"}
    assert offered("kdump-receiver", "host", "block", "w", root=root) == ["web01"]
    key = keygen(root)
    run = [str(PROGRAM), "--root", str(root)]
    subprocess.run([*run, "host", "add", "app07", "--key", f"{key}.pub"], check=True, timeout=60)
    subprocess.run([*run, "host", "block", "db01"], check=True, timeout=60)
    made = subprocess.run([*run, "token", "create"], capture_output=True, text=True, check=True, timeout=60)
    assert offered("kdump-receiver", "host", "remove", "", root=root) == ["app07"]
    assert offered("kdump-receiver", "host", "unblock", "", root=root) == ["db01"]
    (token,) = offered("kdump-receiver", "token", "revoke", "", root=root)
    assert token in made.stdout


def test_a_group_is_offered_once(root: Path) -> None:
    """However many dumps it has; in the short form that `groups` shows."""
    spool = Spool(root, root / ".state")
    for name in ("web01-1", "db01-1"):
        with spool.changing(name) as directory:
            document = (directory / "manifest.json").read_text()
            (directory / "manifest.json").write_text(
                document.replace('"signature": null', f'"signature": "{"69429b3c42e4" * 5}"')
            )
    assert offered("kdump-receiver", "group", "6", root=root) == ["69429b3c42e4"]


def test_what_a_shell_would_obey_is_not_offered(root: Path) -> None:
    """The shells' scripts expand what they get: names with anything special are left out."""
    path = root / "web01-1" / "manifest.json"
    path.write_text(path.read_text().replace('"host": "web01"', '"host": "$(touch /tmp/owned) *"'))
    assert offered("kdump-receiver", "list", "--host", "", root=root) == ["db01"]


def test_of_very_many_dumps_the_newest_are_offered(root: Path) -> None:
    """A Tab looks at so many directories and no more."""
    for number in range(complete.NEWEST + 50):
        directory = root / f"x-{number}"
        directory.mkdir()
        (directory / "manifest.json").write_text(f'{{"id": "{number:06}", "host": "h"}}')
        os.utime(directory, (uploads.NOW + number, uploads.NOW + number))
    found = offered("kdump-receiver", "info", "0000", root=root)
    assert len(found) <= complete.MOST
    assert "000000" not in found


@pytest.mark.parametrize("broken", ["no TOML [", "root = 1"])
def test_wrong_settings_offer_nothing_and_say_nothing(tmp_path: Path, broken: str) -> None:
    """Nobody wants a traceback in the middle of a line."""
    config = tmp_path / "receiver.toml"
    config.write_text(broken)
    assert offered("kdump-receiver", "--config", str(config), "info", "") == []


@pytest.mark.parametrize(
    ("program", "words", "least"),
    [
        ("kdump-receiver", [""], {"list", "serve", "top", "token", "completion"}),
        ("kdump-receiver", ["token", ""], {"create", "list", "revoke"}),
        ("kdump-receiver", ["list", "--verdict", "t"], {"truncated"}),
        ("kdump-receiver", ["completion", ""], {"bash", "zsh", "fish"}),
        ("kdump-fence", [""], {"serve", "nodes", "events", "wait", "check", "completion"}),
        ("kdump-fence", ["wait", "--"], {"--timeout", "--socket", "--json"}),
        ("kdump", [""], {"start", "stop", "propagate", "completion"}),
        ("kdump", ["show", "--"], {"--json", "--words"}),
    ],
)
def test_verbs_and_options_of_every_program(program: str, words: Sequence[str], least: set[str]) -> None:
    assert least <= set(offered(program, *words))


INSTALLED = {
    "bash": ["bash", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SOURCED = {
    "bash": "source {script}",
    "zsh": "autoload -U compinit; compinit -u -D; source {script}",
    "fish": "source {script}",
}


@pytest.mark.parametrize("program", ["kdump-receiver", "kdump-fence", "kdump"])
@pytest.mark.parametrize("shell", INSTALLED)
def test_a_real_shell_completes(tmp_path: Path, shell: str, program: str) -> None:
    """Typed on a terminal: a verb that is half there, and Tab."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    script = tmp_path / "script"
    path = PROGRAM.with_name(program)
    script.write_text(subprocess.run([str(path), "completion", shell], capture_output=True, text=True).stdout)
    environment = {
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PS1": "READY> ",
    }
    half, verb = {"kdump-receiver": ("verif", "verify"), "kdump-fence": ("even", "events")}.get(
        program, ("propa", "propagate")
    )
    with Terminal(INSTALLED[shell], environment=environment, columns=100) as terminal:
        if shell == "fish":
            terminal.type("function fish_prompt; echo 'READY> '; end\n")
        terminal.type(SOURCED[shell].format(script=script) + "; echo SOUR''CED\n")
        terminal.until("SOURCED")
        terminal.type(f"{program} {half}\t")
        terminal.until(f"{program} {verb}")


def test_a_real_bash_completes_a_dump(root: Path) -> None:
    """Its ID, from the first letters on; and files where files may be given."""
    ident = manifest.load(root / "web01-1").id
    (root / "vmcore-of-mine").touch()
    script = subprocess.run([str(PROGRAM), "completion", "bash"], capture_output=True, text=True).stdout
    (root / "script").write_text(script)
    environment = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(root), "PS1": "READY> "}
    with Terminal(INSTALLED["bash"], environment=environment, columns=150) as terminal:
        terminal.type(f"cd {root}; source ./script; echo SOUR''CED\n")
        terminal.until("SOURCED")
        terminal.type(f"kdump-receiver --root . info {ident[:6]}\t")
        terminal.until(f"info {ident}")
        terminal.type("\x15kdump-receiver --root . triage vmcore-of\t")
        terminal.until("triage vmcore-of-mine")
