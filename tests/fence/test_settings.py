"""fence.settings and fence.roster: what the operator writes, and what is said when it is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fence.events import Grade
from fence.listed import ASKED, Listed
from fence.node import Rules
from fence.roster import asked, roster
from fence.settings import Settings, SettingsError, load
from fence.udp import Where

SAMPLE = Path(__file__).parents[2] / "deploy" / "fence" / "fence.toml"
KEY = "00" * 32


def read(tmp_path: Path, text: str, **overrides: Any) -> Settings:
    path = tmp_path / "fence.toml"
    path.write_text(text)
    return load(path, {key.replace("__", "."): value for key, value in overrides.items()})


def listed(tmp_path: Path, text: str, *options: str) -> dict[str, Listed]:
    settings = read(tmp_path, f'nodes.drop_in = "{tmp_path}/fence.d"\n{text}')
    return {each.name: each for each in roster(settings, tmp_path / "fence.toml", options)}


def test_the_defaults_serve_without_any_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the C agent does: every name that is asked for, by any datagram from its address."""
    monkeypatch.setattr("fence.settings.DEFAULT_FILE", tmp_path / "none")
    settings = load(None, {})
    assert settings.policy.off_grade is Grade.UDP
    assert settings.nodes.unlisted == "resolve"
    assert str(settings.api.socket) == "/run/kdump-fence/api.sock"


def test_a_file_of_everything(tmp_path: Path) -> None:
    """Every table and what it becomes."""
    settings = read(
        tmp_path,
        """
        listen = ["0.0.0.0", "[::]:7411", "::1", "192.0.2.1:7412"]
        receive_buffer = "16M"
        [policy]
        off_grade = "signed"
        window_seconds = 30
        [api]
        http = "127.0.0.1:8080"
        socket_mode = "0600"
        alive_users = ["root", 1234, "nobody-has-this-name"]
        [[api.token]]
        name = "prometheus"
        sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        [journal]
        max_bytes = "1 GiB"
        [[webhook]]
        name = "ops"
        url = "https://ops.example.com/hook"
        [[program]]
        name = "confirm"
        argv = ["/usr/libexec/confirm"]
        min_grade = "signed"
        """,
    )
    assert settings.listen == (
        Where("0.0.0.0", 7410),
        Where("::", 7411),
        Where("::1", 7410),
        Where("192.0.2.1", 7412),
    )
    assert settings.receive_buffer == 16 << 20
    assert settings.api.where == Where("127.0.0.1", 8080)
    assert settings.api.alive_users == (0, 1234, -1)
    assert settings.journal.max_bytes == 1 << 30
    assert settings.program[0].min_grade is Grade.SIGNED


def test_the_command_line_wins(tmp_path: Path) -> None:
    """Over the file, key by key."""
    settings = read(
        tmp_path,
        'listen = ["0.0.0.0"]\n[api]\nsocket_mode = "0600"\nsocket = "/a"',
        listen=("127.0.0.1:0",),
        api__socket=Path("/b"),
        state_dir=None,
    )
    assert settings.listen == (Where("127.0.0.1", 0),)
    assert (settings.api.socket, settings.api.socket_mode) == (Path("/b"), "0600")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("listen = 5\n", "{}: listen: "),
        ('listen = ["n1:7410"]', "{}: listen.0: say an address to listen on"),
        ('listen = ["0.0.0.0:70000"]', "{}: listen.0: a port is at most 65535"),
        ("listen = []", "{}: listen: "),
        ('receive_buffer = "much"', '{}: receive_buffer: say a number of bytes or a size like "8M"'),
        ("[policy]\nwindow = 5", "{}: policy.window: no such setting"),
        (
            '[policy]\noff_grade = "none"',
            "{}: policy.off_grade: say one of udp, udp-checked, signed, ssh, saved",
        ),
        ("[policy]\nwindow_seconds = 0", "{}: policy.window_seconds: "),
        ('[api]\nhttp = "0.0.0.0:8080"', "needs `certificate` and `key`"),
        ('[api]\ncertificate = "/c.pem"', "`certificate` and `key` go together"),
        ('[api]\nsocket_group = "nobody-has-this-group"', "{}: api.socket_group: no such group on this host"),
        ('[api]\nsocket_mode = "abc"', "{}: api.socket_mode: "),
        ('[[api.token]]\nname = "x"\nsha256 = "short"', "{}: api.token.0.sha256: "),
        ('[[api.token]]\nname = "x"\nscopes = ["all"]', "{}: api.token.0.sha256: Field required"),
        ('[[webhook]]\nname = "x"\nurl = "ftp://x"', "{}: webhook.0.url: "),
        ('[[program]]\nname = "x"\nargv = []', "{}: program.0.argv: "),
        ("[node.n1]\nttl = 5", "{}: node.n1.ttl: no such setting"),
        ("a = ", "{}: not TOML: "),
    ],
)
def test_every_error_names_file_key_and_reason(tmp_path: Path, text: str, told: str) -> None:
    """And the command ends with 78."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert told.format(tmp_path / "fence.toml") in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    """Or a typing error would run the daemon without its nodes."""
    with pytest.raises(SettingsError, match=r"gone\.toml: No such file"):
        load(tmp_path / "gone.toml", {})


def test_a_node_is_all_that_its_block_says(tmp_path: Path) -> None:
    """Literal addresses, names, networks, keys, hints, and its own policy over that of all."""
    (tmp_path / "n1.key").write_text(f"# the new one\n{KEY}\n\n{'11' * 16}  # the old one\n")
    (tmp_path / "n1.key").chmod(0o640)
    nodes = listed(
        tmp_path,
        f"""
        [policy]
        off_grade = "signed"
        window_seconds = 30
        [node.n1]
        id = "rack7-u12"
        addresses = ["192.0.2.10", "2001:DB8::10", "n1-kdump.example.com"]
        networks = ["198.51.100.0/24", "2001:db8:1::/64"]
        key_file = "{tmp_path}/n1.key"
        interfaces = ["eth1"]
        ttl_min = 64
        off_grade = "udp-checked"
        max_skew_hours = 1
        [node.n2]
        """,
    )
    n1 = nodes["n1"]
    assert (n1.id, n1.addresses, n1.names) == (
        "rack7-u12",
        ("192.0.2.10", "2001:db8::10"),
        ("n1-kdump.example.com",),
    )
    assert [str(network) for network in n1.networks] == ["198.51.100.0/24", "2001:db8:1::/64"]
    assert n1.keys == (bytes(32), b"\x11" * 16)
    assert (n1.interfaces, n1.ttl_min) == (("eth1",), 64)
    assert n1.rules == Rules(off_grade=Grade.UDP_CHECKED, window=30, max_skew=3600)
    assert nodes["n2"] == Listed(name="n2", names=("n2",), rules=Rules(off_grade=Grade.SIGNED, window=30))


def test_drop_ins_and_options_add_nodes(tmp_path: Path) -> None:
    """A file a node, written by the configuration management; `--node` for a try."""
    directory = tmp_path / "fence.d"
    directory.mkdir()
    (directory / "20.toml").write_text('[node.n2]\naddresses = ["192.0.2.20"]')
    (directory / "10.toml").write_text('[node.n3]\naddresses = ["192.0.2.30"]')
    (directory / "README").write_text("not read")
    nodes = listed(tmp_path, '[node.n1]\naddresses = ["192.0.2.10"]', "n4=192.0.2.40,n4-b", "n5")
    assert list(nodes) == ["n1", "n3", "n2", "n4", "n5"]
    assert nodes["n4"] == Listed(name="n4", source="cli", addresses=("192.0.2.40",), names=("n4-b",))
    assert nodes["n5"].names == ("n5",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[node."a/b"]', "node.a/b: a name has 1 to 64 letters"),
        ('[node.n1]\naddresses = ["a b"]', "node.n1.addresses: neither an address nor a name: 'a b'"),
        ('[node.n1]\nnetworks = ["192.0.2.1/24"]', "node.n1.networks: 192.0.2.1/24 has host bits set"),
        ('[node.n1]\nkeys = ["secret"]', "node.n1.keys: number 1: a key is 32 to 128 hexadecimal digits"),
        ('[node.n1]\nkeys = ["abcd"]', "node.n1.keys: number 1: a key is 32 to 128 hexadecimal digits"),
        ('[node.n1]\nkey_file = "/gone.key"', "node.n1.key_file: /gone.key: No such file"),
        ("[node.n1]\n[node.N1]", "node.N1: 'n1' is a node of"),
        ('[node.n1]\nid = "x"\n[node.n2]\nid = "X"', "node.n2: 'x' is a node of"),
        ('[node.n1]\nid = "n2"\n[node.n2]', "node.n2: 'n2' is a node of"),
        (f'[node.n1]\nkeys = ["{KEY}"]\n[node.n2]\nkeys = ["{KEY}"]', "node.n2: has a key of node n1"),
    ],
)
def test_every_error_in_a_node_names_it(tmp_path: Path, text: str, told: str) -> None:
    """And no message ever shows a key."""
    with pytest.raises(SettingsError) as caught:
        listed(tmp_path, text)
    assert told in str(caught.value)
    assert str(tmp_path / "fence.toml") in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_of_the_wrong_type_is_not_shown_either(tmp_path: Path) -> None:
    """pydantic would quote it."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, '[node.n1]\nkeys = "c0ffee00"')
    assert "c0ffee" not in str(caught.value)


@pytest.mark.parametrize("text", ["secret\n", "00\n", "\xff"])
def test_a_bad_key_file_names_its_line(tmp_path: Path, text: str) -> None:
    """Not its content."""
    (tmp_path / "k").write_text(text, encoding="latin-1")
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(SettingsError, match=r"/k(:1)?: (a key is|not text)"):
        listed(tmp_path, f'[node.n1]\nkey_file = "{tmp_path}/k"')


def test_a_key_file_open_to_all_is_refused(tmp_path: Path) -> None:
    """Who reads it can fence the node."""
    (tmp_path / "k").write_text(KEY)
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(SettingsError, match=r"open to all; chmod 0640"):
        listed(tmp_path, f'[node.n1]\nkey_file = "{tmp_path}/k"')


def test_errors_in_drop_ins_name_the_drop_in(tmp_path: Path) -> None:
    """Whether it is the TOML, a key, or something that does not belong there."""
    directory = tmp_path / "fence.d"
    directory.mkdir()
    for text, told in [
        ("x", "not TOML"),
        ("[policy]", "policy: no such setting"),
        ("[node.n1]\nx=1", "node.n1.x"),
    ]:
        (directory / "a.toml").write_text(text)
        with pytest.raises(SettingsError, match=rf"{directory}/a\.toml: {told}"):
            listed(tmp_path, "")
    os.remove(directory / "a.toml")
    directory.rmdir()
    directory.write_text("a file")
    with pytest.raises(SettingsError, match="Not a directory"):
        listed(tmp_path, "")


def test_a_name_that_is_only_asked_for(tmp_path: Path) -> None:
    """An address, a name, or nothing that can be one."""
    settings = read(tmp_path, '[policy]\noff_grade = "signed"')
    rules = Rules(off_grade=Grade.SIGNED)
    assert asked("192.0.2.10", settings) == Listed(
        name="192.0.2.10", source=ASKED, addresses=("192.0.2.10",), rules=rules
    )
    assert asked("n1.example.com", settings) == Listed(
        name="n1.example.com", source=ASKED, names=("n1.example.com",), rules=rules
    )
    assert asked("a b", settings) is None
    assert asked("../x", settings) is None
