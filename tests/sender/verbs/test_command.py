"""The command `kdump` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sender.cli import main
from sender.conf.model import read_text
from sender.verbs import saved, show, trial
from tests.sender.conftest import VERSION, Fake


def typed(fake: Fake, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    result = CliRunner().invoke(main, ["--root", str(fake.root), *words], prog_name="kdump")
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("words", [(), ("frobnicate",)])
def test_a_wrong_verb_gets_the_seeds_usage_line(fake: Fake, words: tuple[str, ...]) -> None:
    """Exit status 1, as the init script."""
    status, _, err = typed(fake, *words)
    assert (status, err) == (1, "Usage: kdump {start|stop|status|restart|propagate}\n")


def test_status_speaks_by_its_exit_status(fake: Fake) -> None:
    """3 when not loaded."""
    assert typed(fake, "status") == (3, "Kdump is not operational\n", "")


def test_check_lists_everything_and_ends_with_78(fake: Fake) -> None:
    """Warnings and errors, each with its line."""
    fake.conf("net a@b\npath crash\nfoo 1\n")
    status, out, _ = typed(fake, "check", "--syntax")
    assert status == 78
    assert [line.split(":")[1] for line in out.splitlines()] == ["1", "2", "3"]
    fake.conf("path /var/crash\n")
    assert typed(fake, "check", "--syntax") == (0, "/etc/kdump.conf: good\n", "")


def test_a_file_elsewhere_may_be_named_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kdump --conf ./kdump.conf check` before it is put into /etc."""
    (tmp_path / "mine.conf").write_text("path /var/crash\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["--conf", "mine.conf", "check", "--syntax"])
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/mine.conf: good\n")


def test_check_looks_at_the_host_too(fake: Fake) -> None:
    """A key that is not there is found before the crash."""
    fake.conf("ssh kdump@server\n")
    session = fake.session
    assert show.check(session) == 78
    assert "run `kdump propagate`" in fake.said


def test_show_says_the_whole_plan(fake: Fake) -> None:
    """What is loaded, with what line, in which order things happen."""
    fake.put("/opt/post.sh", "#!/bin/sh\n", 0o755)
    fake.put("/dev/vdb1")
    fake.conf(
        "ext4 /dev/vdb1\nfallback local /keep\nfence_kdump_nodes node1\n"
        "kdump_post /opt/post.sh\nlink_delay 3\nfailure_action halt\n"
    )
    assert show.show(fake.session) == 0
    said = fake.said
    assert "reserved      256 MiB" in said
    assert "removed       root=/dev/vda1 ro crashkernel=256M" in said
    assert "kexec         kexec -s -p --command-line=console=ttyS0 reset_devices" in said
    steps = said[said.index("\ncapture\n") :]
    order = [
        "tell node1",
        "wait 3 s",
        "to ext4 /dev/vdb1",
        "or else to local /keep",
        "run /opt/post.sh",
        "not saved: halt",
    ]
    places = [steps.index(words) for words in order]
    assert places == sorted(places)


def test_show_speaks_json(fake: Fake) -> None:
    """For programs."""
    assert show.show(fake.session, as_json=True) == 0
    value = json.loads(fake.said)
    assert value["kernel"] == VERSION
    assert value["reserved"]["size"] == 256 << 20
    assert "/etc/kdump-net/plan" in value["image"]["files"]


def test_set_and_unset_edit_the_file(fake: Fake) -> None:
    """Comments stay, the mode stays."""
    fake.conf("# mine\npath /var/crash\n")
    (fake.root / "etc/kdump.conf").chmod(0o640)
    assert typed(fake, "set", "ssh", "kdump@server")[0] == 0
    assert typed(fake, "set", "core_collector", "makedumpfile", "-c", "-d", "31")[0] == 0
    text = (fake.root / "etc/kdump.conf").read_text()
    assert text == "# mine\npath /var/crash\nssh kdump@server\ncore_collector makedumpfile -c -d 31\n"
    assert typed(fake, "unset", "ssh")[0] == 0
    assert "#ssh kdump@server\n" in (fake.root / "etc/kdump.conf").read_text()
    assert (fake.root / "etc/kdump.conf").stat().st_mode & 0o777 == 0o640


def test_set_refuses_what_could_not_be_obeyed(fake: Fake) -> None:
    """78, and the file is as it was."""
    before = (fake.root / "etc/kdump.conf").read_text()
    status, _, err = typed(fake, "set", "path", "crash")
    assert status == 78
    assert "is not an absolute path" in err
    assert "unchanged" in err
    assert (fake.root / "etc/kdump.conf").read_text() == before
    assert typed(fake, "set", "frob", "1")[0] == 78


def test_import_prints_and_writes(fake: Fake, tmp_path: Path) -> None:
    """Debian's file into ours; without --write nothing is touched."""
    theirs = tmp_path / "kdump-tools"
    theirs.write_text('USE_KDUMP=1\nSSH="kdump@server"\nHOSTTAG=hostname\n')
    status, out, err = typed(fake, "import", str(theirs))
    assert status == 0
    assert "ssh kdump@server" in out
    assert "HOSTTAG=hostname: the directory is named by address" in err
    assert (fake.root / "etc/kdump.conf").read_text() == "path /var/crash\n"
    assert typed(fake, "import", "--write", str(theirs))[0] == 0
    assert read_text((fake.root / "etc/kdump.conf").read_text()).config is not None
    theirs.write_text("HELLO=1\n")
    assert typed(fake, "import", str(theirs))[0] == 78


def test_a_password_is_no_argument(fake: Fake) -> None:
    """Every user could read it in ps."""
    help_text = typed(fake, "propagate", "--help")[1]
    assert "--password-file" in help_text
    assert "--password " not in help_text


def test_crash_wants_a_person(fake: Fake) -> None:
    """No terminal, no crash; and none without a loaded crash kernel."""
    status, _, err = typed(fake, "test", "--crash")
    assert status == 1
    assert "wants an answer from a terminal" in err


def test_the_test_dump_is_whole(tmp_path: Path) -> None:
    """makedumpfile itself puts the stream together."""
    core = trial.tiny_core("6.1.0-test", 1700000000)
    stream = tmp_path / "flat"
    stream.write_bytes(trial.flattened(core))
    with stream.open("rb") as file:
        subprocess.run(
            ["/usr/bin/makedumpfile", "-R", str(tmp_path / "core")],
            stdin=file,
            check=True,
            capture_output=True,
            timeout=60,
        )
    assert (tmp_path / "core").read_bytes() == core
    shown = subprocess.run(["file", "-b", str(tmp_path / "core")], capture_output=True, text=True).stdout
    assert not shown or "ELF 64-bit" in shown


def test_the_test_dump_travels_by_the_capture_kernels_script(fake: Fake, tmp_path: Path) -> None:
    """To a plain sshd, with the key and host key of the image; the server is told fail or success."""
    from tests.e2e.server import sshd

    with sshd(tmp_path / "sshd") as server:
        (tmp_path / "hosts").write_text("127.0.0.1 192.0.2.9\n")
        fake.put("/root/.ssh/kdump_id_ed25519", server.key.read_text(), 0o600)
        fake.put("/root/.ssh/known_hosts", server.host_key_line.replace("10.0.2.2", "127.0.0.1") + "\n")
        fake.conf(f"ssh root@127.0.0.1:{server.port}\npath {server.dumps}\nssh_compress none\n")
        assert trial.test(fake.session) == 0, fake.warned
        (directory,) = server.dumps.iterdir()
        assert directory.name.startswith("kdump-test-")
        names = {path.name for path in directory.iterdir()}
        assert names >= {"vmcore.flat", "vmcore-dmesg.txt", "vmcore-creation.status"}
        assert "success" in (directory / "vmcore-creation.status").read_text()
        assert "passed" in fake.said


def test_a_waiting_dump_is_delivered_once(fake: Fake, tmp_path: Path) -> None:
    """With the date of the crash; then it waits no more."""
    from tests.e2e.server import sshd

    with sshd(tmp_path / "sshd") as server:
        (tmp_path / "hosts").write_text("127.0.0.1 192.0.2.9\n")
        fake.put("/root/.ssh/kdump_id_ed25519", server.key.read_text(), 0o600)
        fake.put("/root/.ssh/known_hosts", server.host_key_line.replace("10.0.2.2", "127.0.0.1") + "\n")
        fake.conf(f"ssh root@127.0.0.1:{server.port} \npath {server.dumps}\nfallback local /var/crash\n")
        kept = fake.root / "var/crash/127.0.0.1-2026-01-02-03:04:05"
        fake.put(f"{kept.relative_to(fake.root)}/vmcore", "core")
        fake.put(f"{kept.relative_to(fake.root)}/undelivered", "1\n")
        assert saved.deliver(fake.session) == 0, fake.warned
        (there,) = server.dumps.glob("*-2026-01-02-03:04:05/vmcore")
        assert there.read_text() == "core"
        assert (kept / "delivered").exists()
        fake.quiet()
        assert saved.deliver(fake.session) == 0
        assert fake.said == ""


def test_the_sender_needs_only_its_own_extra() -> None:
    """click and paramiko; and paramiko only where ssh is spoken."""
    code = (
        "import sys; import sender.cli; "
        "bad = {'paramiko', 'asyncssh', 'pydantic', 'trio', 'sqlalchemy', 'rich'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
