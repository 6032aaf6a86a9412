"""`kdump-receiver host` and `kdump-receiver token`."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receiver.cli import main
from receiver.hosts import hostkeys
from receiver.hosts.public_key import parse_untrusted
from tests.receiver.hosts.conftest import Keys

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, as the installed program runs it: exit status, output, errors."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kdump-receiver", "--root", str(root), *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def documents(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)
    return found


def test_a_host_is_added_listed_and_removed(run: Run, keys: Keys) -> None:
    """The whole life of a host, and exit status 1 when it is not there."""
    key = parse_untrusted(keys.ed25519)
    path = keys.directory / "ed25519.pub"
    assert run("host", "list") == (1, "", _NO_HOSTS)
    status, said, _ = run("host", "add", "web01", "--key", str(path), "--address", "10.0.0.0/24")
    assert (status, said) == (0, f"web01 may send dumps from 10.0.0.0/24 with {key.fingerprint}.\n")
    status, said, _ = run("host", "list")
    assert status == 0
    heading, row = said.splitlines()
    assert heading.split() == ["HOST", "STATE", "TYPE", "FINGERPRINT", "FROM", "SINCE", "BY", "COMMENT"]
    assert row.split()[:5] == ["web01", "valid", "ssh-ed25519", key.fingerprint, "10.0.0.0/24"]
    assert run("host", "list", "db01") == (1, "", "No host 'db01'.\n")
    status, said, _ = run("host", "remove", "web01")
    assert (status, said) == (0, f"web01 may not use {key.fingerprint} any more. Its dumps stay.\n")
    assert run("host", "remove", "web01") == (1, "", "No host 'web01'.\n")


_NO_HOSTS = "No hosts. Enrol one: `host add`, or `token create` and the host's `propagate`.\n"


def test_programs_get_json(run: Run, keys: Keys) -> None:
    """One host, all its keys, everything that is known of them."""
    run("host", "add", "web01", "--key", "-", "--shared", stdin=keys.rsa)
    _, said, _ = run("host", "add", "web01", "--key", "-", "--json", stdin=keys.ed25519)
    added = json.loads(said)
    assert added["other_keys"] == [parse_untrusted(keys.rsa).fingerprint]
    assert added["was_enrolled"] is False
    status, said, _ = run("host", "list", "--json")
    (host,) = documents(said)
    assert (status, host["host"]) == (0, "web01")
    assert {key["algorithm"]: (key["bits"], key["shared"], key["how"]) for key in host["keys"]} == {
        "ssh-rsa": (2048, True, "cli"),
        "ssh-ed25519": (256, False, "cli"),
    }
    status, said, _ = run("host", "remove", "web01", "--json")
    assert len(json.loads(said)["removed"]) == 2
    assert run("host", "list", "--json")[:2] == (1, "[]\n")


def test_what_happens_to_keys_that_were_there_is_said(run: Run, keys: Keys) -> None:
    """Another key stays valid; the same key follows the new rules."""
    run("host", "add", "web01", "--key", "-", stdin=keys.rsa)
    _, said, _ = run("host", "add", "web01", "--key", "-", stdin=keys.ed25519)
    assert "It may still use 1 other key(s): `kdump-receiver host list web01`." in said
    _, said, _ = run("host", "add", "web01", "--key", "-", "--shared", stdin=keys.ed25519)
    assert "It had this key before; what was said now holds." in said
    assert "web01@ADDRESS" in said
    fingerprint = parse_untrusted(keys.rsa).fingerprint
    for which in (fingerprint, str(keys.directory / "ed25519.pub")):
        assert run("host", "remove", "web01", "--key", which)[0] == 0
    assert run("host", "remove", "web01", "--key", fingerprint)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("host", "add", "web 01", "--key", "-"), 2, "'web 01' is no host name"),
        (("host", "add", "web01"), 2, "Missing option '--key'"),
        (
            ("host", "add", "web01", "--key", "-", "--address", "web01"),
            2,
            "neither an IP address nor a network",
        ),
        (("host", "add", "web01", "--key", "-"), 65, "kdump-receiver: there is no public key"),
        (("host", "add", "web01", "--key", "/nowhere.pub"), 66, "/nowhere.pub: No such file or directory"),
        (("host", "block", "fleet@db01"), 2, "an IP address is wanted behind the @"),
        (("host", "unblock", "../x"), 1, "'../x' is not blocked"),
        (("token", "create", "--expires", "soon"), 2, "'soon': say 30m, 12h, 7d or 4w"),
        (("token", "create", "--expires", "99999w"), 2, "ten years at most"),
        (("token", "create", "--uses", "0"), 2, "0 is not in the range"),
        (("token", "create", "--host", "a/b"), 2, "is no host name"),
        (("token", "revoke", "222222"), 1, "No token '222222'"),
        (("token", "list"), 1, "No tokens."),
    ],
)
def test_mistakes_have_a_sentence_and_a_status(
    run: Run, arguments: tuple[str, ...], status: int, reason: str
) -> None:
    """2 for what was typed, 65 and 66 for what a file holds, 1 for what is not there; never a traceback."""
    got, said, wrong = run(*arguments)
    assert (got, said) == (status, "")
    assert reason in wrong


def test_a_private_key_is_refused_and_not_shown(run: Run, keys: Keys) -> None:
    """The commonest slip: without the .pub."""
    status, said, wrong = run("host", "add", "web01", "--key", str(keys.directory / "ed25519"))
    assert status == 65
    assert "PRIVATE key" in wrong
    secret = (keys.directory / "ed25519").read_text().splitlines()[2]
    assert secret not in said + wrong


def test_weak_rsa_is_taken_only_when_asked(run: Run, keys: Keys) -> None:
    """For the one old machine whose key cannot be changed."""
    assert run("host", "add", "old", "--key", "-", stdin=keys.weak_rsa)[0] == 65
    assert run("host", "add", "old", "--key", "-", "--weak-rsa", stdin=keys.weak_rsa)[0] == 0


def test_a_token_is_shown_once_with_what_to_do_with_it(run: Run, root: Path) -> None:
    """The person who copies the lines has no manual at hand; and can check the server's key."""
    hostkeys.load(root / ".state")
    status, said, _ = run("token", "create", "--host", "web01", "--expires", "7d", "--port", "22")
    assert status == 0
    text = said.splitlines()[0]
    for line in ("kdumpctl propagate", "service kdump propagate", "kdump-config propagate"):
        assert line in said
    assert "ssh-copy-id -i /root/.ssh/kdump_id_rsa kdump@" in said
    for key in hostkeys.fingerprints(root / ".state"):
        assert key.fingerprint in said
    _, listed, _ = run("token", "list")
    assert text not in listed
    identifier = text.split("-")[1]
    assert listed.splitlines()[1].split()[:6] == [identifier, "web01", "usable", "1", "of", "1"]


def test_the_lines_to_copy_name_the_port(run: Run) -> None:
    """Where it is not 22, only ssh-copy-id can be told so."""
    _, said, _ = run("token", "create", "--port", "2022")
    assert "ssh-copy-id -i /root/.ssh/kdump_id_rsa -p 2022 kdump@" in said
    assert "want this server on 22" in said


def test_tokens_for_programs(run: Run) -> None:
    """The secret is in the answer to `create` and nowhere else."""
    _, said, _ = run("token", "create", "--uses", "5", "--note", "rack 7", "--json")
    made = json.loads(said)
    assert made["token"].startswith(f"kdump-{made['id']}-")
    assert (made["host"], made["uses_left"], made["note"], made["state"]) == (None, 5, "rack 7", "usable")
    _, said, _ = run("token", "list", "--json")
    (listed,) = documents(said)
    assert listed == {key: value for key, value in made.items() if key != "token"}
    assert not {"token", "salt", "sha256"} & set(listed)


@pytest.mark.parametrize("whole", [True, False])
def test_a_token_is_revoked_by_its_id_or_its_text(run: Run, whole: bool) -> None:
    """Whichever the operator has at hand."""
    made = json.loads(run("token", "create", "--json")[1])
    status, said, _ = run("token", "revoke", made["token"] if whole else made["id"])
    assert (status, said) == (0, f"Token {made['id']} is revoked. Keys that it enrolled stay valid.\n")
    assert run("token", "list")[0] == 1


def test_hosts_are_blocked_and_let_in_again(run: Run, keys: Keys) -> None:
    """Listed with the reason, also when they have no key here."""
    run("host", "add", "web01", "--key", "-", stdin=keys.ed25519)
    assert run("host", "block", "web01", "--note", "stolen")[:2] == (0, "web01 is blocked. Its dumps stay.\n")
    assert run("host", "block", "fleet@::ffff:10.0.0.7")[1] == "fleet@10.0.0.7 is blocked. Its dumps stay.\n"
    _, said, _ = run("host", "list")
    assert [row.split()[:2] for row in said.splitlines()[1:]] == [
        ["fleet@10.0.0.7", "blocked"],
        ["web01", "blocked"],
    ]
    fleet, web = documents(run("host", "list", "--json")[1])
    assert (fleet["keys"], web["blocked"]["note"]) == ([], "stolen")
    assert run("host", "unblock", "web01")[0] == 0
    assert run("host", "unblock", "web01") == (1, "", "'web01' is not blocked.\n")
    assert documents(run("host", "list", "web01", "--json")[1])[0]["blocked"] is None


def test_a_terminal_gets_a_table(run: Run, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headings stand out, long cells fold instead of being cut."""
    run("host", "add", "web01", "--key", "-", stdin=keys.ed25519)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    _, said, _ = run("host", "list")
    assert "\x1b[1mHOST" in said
    assert parse_untrusted(keys.ed25519).fingerprint in said


def test_a_damaged_record_is_named_beside_the_list(run: Run, keys: Keys, root: Path) -> None:
    """One bad file does not hide ten thousand good ones."""
    run("host", "add", "web01", "--key", "-", stdin=keys.ed25519)
    run("host", "add", "db01", "--key", "-", stdin=keys.rsa)
    (path,) = (root / ".state" / "hosts" / "by-name" / "db01").iterdir()
    path.write_text("{")
    status, said, wrong = run("host", "list")
    assert status == 0
    assert "web01" in said
    assert wrong == f"kdump-receiver: {path}: not JSON\n"


def test_a_state_directory_that_cannot_be_made_is_named(run: Run, root: Path) -> None:
    """With what to do."""
    root.write_text("not a directory")
    status, _, wrong = run("host", "list")
    assert status == 74
    assert "run this as the receiver's own user or as root" in wrong
