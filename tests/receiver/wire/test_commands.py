"""Every line that a stock kdump client sends is understood, and nothing else is."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.wire import paths
from receiver.wire.commands import (
    Command,
    DiskFree,
    EchoTo,
    Exit,
    InstallKey,
    ListLong,
    MakeDirectory,
    MakeTemporary,
    Move,
    RemoveDirectory,
    ScpSink,
    ScpSource,
    Write,
    parse_untrusted,
)
from receiver.wire.refused import MAX_REASON, Refused
from tests.builders.installers import INSTALLERS

p = paths.parse_untrusted

EL6 = "/var/crash/10.0.1.7-2013-04-02-11:22:33"
EL7 = "/var/crash/10.0.1.7-2015-04-02-11:22:33"
KU = "/var/crash/fe80::5054:ff:fe12:3456-2024-04-02-11:22:33"
DEB = "/var/crash/10.0.1.7-202404021122"
OLD = "/dump/10.0.1.7-2017-06-02-11:22"
NEW = "/var/crash/web01-2024-04-02-11-22"

UNDERSTOOD: dict[str, tuple[str, Command]] = {
    "is the key already in?": ("exit", Exit()),
    # kexec-tools of RHEL5 and RHEL6, mkdumprd
    "RHEL5 to RHEL7 start": ("mkdir -p /var/crash", MakeDirectory(p("/var/crash"), parents=True)),
    "a path typed with its slash": ("mkdir -p /var/crash/", MakeDirectory(p("/var/crash"), parents=True)),
    "a relative path": ("mkdir -p crash/here", MakeDirectory(p("/crash/here"), parents=True)),
    "write test": ("mktemp -dqp /var/crash", MakeTemporary(p("/var/crash"))),
    "RHEL6 space": ("df -P /var/crash/tmp.Zz09aAbBcC", DiskFree(p("/var/crash/tmp.Zz09aAbBcC"), "posix")),
    "RHEL7 space": ("df -P /var/crash", DiskFree(p("/var/crash"), "posix")),
    "kdump-utils space": ("df --output=avail /var/crash", DiskFree(p("/var/crash"), "avail")),
    "end of the write test": ("rmdir /var/crash/tmp.a", RemoveDirectory(p("/var/crash/tmp.a"))),
    "RHEL6 directory": (f"mkdir {EL6}", MakeDirectory(p(EL6), parents=False)),
    "RHEL6 dmesg": (
        f"dd of={EL6}//vmcore-dmesg-incomplete.txt",
        Write(p(f"{EL6}/vmcore-dmesg-incomplete.txt"), "dd"),
    ),
    "RHEL6 dmesg name": (
        f"mv {EL6}//vmcore-dmesg-incomplete.txt {EL6}//vmcore-dmesg.txt",
        Move(p(f"{EL6}/vmcore-dmesg-incomplete.txt"), p(f"{EL6}/vmcore-dmesg.txt")),
    ),
    "RHEL6 progress": (f"ls -l {EL6}/vmcore-incomplete", ListLong(p(f"{EL6}/vmcore-incomplete"))),
    "RHEL6 core": (f"dd of={EL6}/vmcore-incomplete", Write(p(f"{EL6}/vmcore-incomplete"), "dd")),
    "RHEL6.0 core": (f"cat > {EL6}/vmcore-incomplete", Write(p(f"{EL6}/vmcore-incomplete"), "cat")),
    "RHEL6 core by scp": (f"scp -t {EL6}/vmcore-incomplete", ScpSink(p(f"{EL6}/vmcore-incomplete"))),
    # RHEL7 and kdump-utils, dracut-kdump.sh and kdump.sh
    "RHEL7 directory": (f"mkdir -p {EL7}", MakeDirectory(p(EL7), parents=True)),
    "RHEL7 core": (
        f"dd bs=512 of={EL7}/vmcore-incomplete",
        Write(p(f"{EL7}/vmcore-incomplete"), "dd", block_bytes=512),
    ),
    "RHEL7 core name": (
        f"mv {EL7}/vmcore-incomplete {EL7}/vmcore.flat",
        Move(p(f"{EL7}/vmcore-incomplete"), p(f"{EL7}/vmcore.flat")),
    ),
    "kdump-utils dmesg, spring 2021": (
        f"umask 0077 && dd of={KU}/vmcore-dmesg-incomplete.txt",
        Write(p(f"{KU}/vmcore-dmesg-incomplete.txt"), "dd", umask="0077"),
    ),
    "kdump-utils core, spring 2021": (
        f"umask 0077 && dd bs=512 of={KU}/vmcore-incomplete",
        Write(p(f"{KU}/vmcore-incomplete"), "dd", block_bytes=512, umask="0077"),
    ),
    "kdump-utils dmesg": (
        f"umask 0077 && dd of='{KU}/vmcore-dmesg-incomplete.txt'",
        Write(p(f"{KU}/vmcore-dmesg-incomplete.txt"), "dd", umask="0077", quoted=True),
    ),
    "kdump-utils core": (
        f"umask 0077 && dd bs=512 of='{KU}/vmcore-incomplete'",
        Write(p(f"{KU}/vmcore-incomplete"), "dd", block_bytes=512, umask="0077", quoted=True),
    ),
    "kdump-utils core name": (
        f"mv '{KU}/vmcore-incomplete' '{KU}/vmcore.flat'",
        Move(p(f"{KU}/vmcore-incomplete"), p(f"{KU}/vmcore.flat"), quoted=True),
    ),
    "kdump-utils opalcore name": (
        f"mv {KU}/opalcore-incomplete {KU}/opalcore",
        Move(p(f"{KU}/opalcore-incomplete"), p(f"{KU}/opalcore")),
    ),
    "kdump-utils log": (f"scp -t {KU}/", ScpSink(p(KU))),
    "kdumpctl test fails": (
        "echo fail kdump_test_id=1767225600-123456789 > /var/crash/kdump-test-1/vmcore-creation.status",
        EchoTo(
            "fail kdump_test_id=1767225600-123456789", p("/var/crash/kdump-test-1/vmcore-creation.status")
        ),
    ),
    "kdumpctl test succeeds": (
        "echo success kdump_test_id=1-2 > /var/crash/kdump-test-1-2/vmcore-creation.status",
        EchoTo("success kdump_test_id=1-2", p("/var/crash/kdump-test-1-2/vmcore-creation.status")),
    ),
    "kdumpctl test asks": (
        "scp -f /var/crash/kdump-test-1-2/vmcore-creation.status",
        ScpSource(p("/var/crash/kdump-test-1-2/vmcore-creation.status")),
    ),
    # Debian, kdump-config
    "Debian directory": (f"mkdir -p {DEB}", MakeDirectory(p(DEB), parents=True)),
    "Debian dmesg": (f"scp -t {DEB}/dmesg.202404021122", ScpSink(p(f"{DEB}/dmesg.202404021122"))),
    "Debian core": (f"dd of={DEB}/dump-incomplete.gz", Write(p(f"{DEB}/dump-incomplete.gz"), "dd")),
    "Debian core name": (
        f"mv {DEB}/dump-incomplete.gz {DEB}/dump.202404021122.gz",
        Move(p(f"{DEB}/dump-incomplete.gz"), p(f"{DEB}/dump.202404021122.gz")),
    ),
    # SUSE, kdumptool and kdump-save
    "cat said in full": ("cat - > /a", Write(p("/a"), "cat")),
    "kdumptool core": (
        f"dd of={OLD}/vmcore-incomplete && mv {OLD}/vmcore-incomplete {OLD}/vmcore",
        Write(p(f"{OLD}/vmcore-incomplete"), "dd", then_move_to=p(f"{OLD}/vmcore")),
    ),
    "kdump-save 1.9": (
        f"mkdir -p {NEW} && cat > {NEW}/README.txt",
        Write(p(f"{NEW}/README.txt"), "cat", make_parent=True),
    ),
    "kdump-save 2.0.17": (
        f"umask 077; mkdir -p {NEW} && cat > {NEW}/vmcore",
        Write(p(f"{NEW}/vmcore"), "cat", make_parent=True, umask="077"),
    ),
    # what no client says yet, but means nothing else
    "all in one line": (
        f"umask 077 && mkdir -p {NEW} && dd bs=1M of={NEW}/a && mv {NEW}/a {NEW}/b",
        Write(
            p(f"{NEW}/a"),
            "dd",
            make_parent=True,
            then_move_to=p(f"{NEW}/b"),
            block_bytes=1 << 20,
            umask="077",
        ),
    ),
    "a careful mkdir": (f"umask 0077 && mkdir -p {KU}", MakeDirectory(p(KU), parents=True)),
    # scp of any OpenSSH before 9, and libssh2's
    "scp with every flag": (
        "scp -v -r -p -d -t -- /a",
        ScpSink(p("/a"), directory=True, recursive=True, preserve=True, verbose=True),
    ),
    "scp to home": ("scp -t .", ScpSink(p("/"))),
    "libssh2's scp": ("scp -pt '/a/b'", ScpSink(p("/a/b"), preserve=True)),
    "scp back, verbose": ("scp -v -p -f /a/b", ScpSource(p("/a/b"), preserve=True, verbose=True)),
}


@pytest.mark.parametrize("row", UNDERSTOOD)
def test_what_clients_send_is_understood(row: str) -> None:
    """Each row of the grammar, with the exact text that client sends."""
    line, command = UNDERSTOOD[row]
    assert parse_untrusted(line) == command


@pytest.mark.parametrize("version", INSTALLERS)
def test_every_ssh_copy_id_installs_a_key(version: str) -> None:
    """`propagate` works from any distribution: the text is known by what it does, not by its version."""
    assert parse_untrusted(INSTALLERS[version]) == InstallKey()


def test_this_machine_s_ssh_copy_id_installs_a_key(tmp_path: Path) -> None:
    """The real script, with an `ssh` that prints what it was asked to run."""
    (tmp_path / ".ssh").mkdir()
    ssh = tmp_path / "ssh"
    ssh.write_text(
        '#!/bin/sh\nfor last; do :; done\n[ "$last" = exit ] && { echo "Permission denied" >&2; exit 255; }\n'
        f"printf %s \"$last\" > '{tmp_path}/said'; cat > '{tmp_path}/keys'\n"
    )
    ssh.chmod(0o755)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=30)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(
        ["ssh-copy-id", "-i", key, "kdump@collector"],
        env=environment,
        check=True,
        capture_output=True,
        timeout=30,
    )
    assert parse_untrusted((tmp_path / "said").read_text()) == InstallKey()
    assert (tmp_path / "keys").read_text() == key.with_suffix(".pub").read_text()


def _spellings(text: str) -> dict[str, str]:
    return {
        "bare": text,
        "single quotes": f"'{text}'",
        "double quotes": f'"{text}"',
        "backslashes": "".join(f"\\{char}" for char in text),
        "half and half": f"{text[:5]}'{text[5:9]}'\"{text[9:]}\"",
    }


@pytest.mark.parametrize("style", _spellings(KU))
def test_every_quoting_means_the_same(style: str) -> None:
    """An admin's or a later version's quotes change nothing but the note that they were there."""
    name = _spellings(f"{KU}/vmcore-incomplete")[style]
    quoted = style != "bare"
    target = p(f"{KU}/vmcore-incomplete")
    assert parse_untrusted(f"dd of={name}") == Write(target, "dd", quoted=quoted)
    assert parse_untrusted(f"cat > {name}") == Write(target, "cat", quoted=quoted)
    assert parse_untrusted(f"cat>{name}") == Write(target, "cat", quoted=quoted)
    assert parse_untrusted(f"mkdir -p -- {name}") == MakeDirectory(target, parents=True)
    assert parse_untrusted(f"mkdir {name} -p") == MakeDirectory(target, parents=True)
    assert parse_untrusted(f"mv -f -- {name} /x") == Move(target, p("/x"))
    assert parse_untrusted(f"df {name} -P") == DiskFree(target, "posix")
    assert parse_untrusted(f"scp -r -t {name}") == ScpSink(target, recursive=True)


def test_quotes_keep_blanks_and_operators_in_a_name() -> None:
    """Inside quotes, what would be an operator is a character of the name."""
    assert parse_untrusted("mv 'a b' \"c&&d\"") == Move(p("/a b"), p("/c&&d"), quoted=True)
    assert parse_untrusted("dd of='/a;b>c'") == Write(p("/a;b>c"), "dd", quoted=True)


@pytest.mark.parametrize(
    "line", ["mktemp -dqp /a", "mktemp -d -q -p /a", "mktemp -qd -p/a", "mktemp -p /a -d"]
)
def test_the_write_test_takes_its_options_in_any_order(line: str) -> None:
    """getopt's freedom, as the real mktemp has it."""
    assert parse_untrusted(line) == MakeTemporary(p("/a"))


@pytest.mark.parametrize(
    ("size", "block_bytes"),
    [
        *[("512", 512), ("1c", 1), ("2w", 4), ("1b", 512), ("4k", 4096), ("4K", 4096), ("1M", 1 << 20)],
        *[
            ("1073741824", 1 << 30),
            ("1MB", 10**6),
            ("1kB", 1000),
            ("1KB", 1000),
            ("1MiB", 1 << 20),
            ("1G", 1 << 30),
        ],
    ],
)
def test_dd_s_block_size_is_read_as_dd_does(size: str, block_bytes: int) -> None:
    """coreutils' suffixes; the size matters only for the summary."""
    assert parse_untrusted(f"dd bs={size} of=/a") == Write(p("/a"), "dd", block_bytes=block_bytes)


def test_harmless_options_of_dd_are_taken() -> None:
    """An admin who had dd flush, or keep quiet, still gets the dump through."""
    line = "dd conv=fsync,fdatasync oflag=direct iflag=fullblock status=none bs=1M of=/a"
    assert parse_untrusted(line) == Write(p("/a"), "dd", block_bytes=1 << 20, summary=False)
    assert parse_untrusted("dd status=progress of=/a") == Write(p("/a"), "dd")


REFUSED = {
    # a shell, or anything to run in one
    "": "empty command",
    " ;\n": "empty command",
    "sh": "'sh' is not understood",
    "exec sh -c 'id'": "'exec' is not understood",
    "/usr/libexec/openssh/sftp-server": "'/usr/libexec/openssh/sftp-server' is not understood",
    "mkdir -p /a; reboot": "'reboot' is not understood",
    "dd of=/a && reboot": "'reboot' is not understood",
    "exit && exit": "'exit', 'exit' in one line",
    "umask 077; umask 077; cat > /a": "'umask', 'cat' in one line",
    "umask 077": "'umask' in one line",
    "umask u=rwx && dd of=/a": "'umask' is not understood",
    "umask 0077 > /a && dd of=/b": "'umask' is not understood",
    "exit 0": "'0' is not understood after exit",
    # files that are not the client's to name
    "cat /etc/passwd > /a": "'/etc/passwd' is not understood",
    "cat /etc/passwd": "'cat' is not understood in this place",
    "dd if=/etc/passwd of=/a": "'if=/etc/passwd' is not understood",
    "dd of=/a count=1": "'count=1' is not understood",
    "dd of=/a of=/b": "'of=/b' is not understood",
    "dd of=/a conv=notrunc": "'conv=notrunc' is not understood",
    "dd of=/a conv=sync": "'conv=sync' is not understood",
    "dd of=/a oflag=append": "'oflag=append' is not understood",
    "dd of=/a bs=0": "a block has 1 to",
    "dd of=/a bs=1073741825": "a block has 1 to",
    "dd of=/a bs=x": "not a size",
    "dd of=/a bs=1T": "not a size",
    "dd of=/a bs=1kiB": "not a size",
    "cat - /etc/passwd > /a": "'-' is not understood",
    "dd": "without of=FILE",
    "dd of=": "an empty path",
    "dd of=/": "a directory is not a file",
    "dd of=/a/": "a directory is not a file",
    "cat > /a/.": "a directory is not a file",
    "echo x > /a/": "a directory is not a file",
    "mv /a /b/": "a directory is not a file",
    "dd of=/a > /b": "'dd' is not understood in this place",
    "mv /a": "'mv' is not understood but with two paths",
    "mv /a /b /c": "'mv' is not understood but with two paths",
    "mv -t /a /b": "'-t' is not understood",
    "rm -rf /": "'rm' is not understood",
    "rmdir -p /a/b": "'-p' is not understood",
    "mkdir -p my dumps": "'mkdir' is not understood but with one path",
    "mkdir -m 777 /a": "'-m' is not understood",
    "mkdir -p /a && cat > /b/c": "mkdir -p did not make its directory",
    "mkdir /a && cat > /a/c": "mkdir -p did not make its directory",
    "mkdir -p /a && mkdir -p /a && cat > /a/c": "'mkdir', 'mkdir', 'cat' in one line",
    "mkdir -p /a && cat": "'cat' is not understood in this place",
    "mkdir -p /a > /b && cat > /a/c": "'mkdir', 'cat' in one line",
    "mkdir -p /a; cat > /a/c": "'mkdir', 'cat' in one line",
    "dd of=/a && mv /b /c": "'mv /b' is not understood",
    "dd of=/a > /x && mv /a /c": "'dd' is not understood in this place",
    "dd of=/a && mv /a /c > /d": "'dd', 'mv' in one line",
    "dd of=/a && mv /a /c && mv /c /d": "'dd', 'mv', 'mv' in one line",
    "dd of=/a ; mv /a /c": "'dd', 'mv' in one line",
    "mktemp -q -p /a": "without -d",
    "mktemp -d": "'mktemp -p' is not understood",
    "mktemp -d -u -p /a": "'-u' is not understood",
    "mktemp -dp /a XXXX": "'XXXX' is not understood",
    "df /a": "either -P or --output=avail",
    "df -P --output=avail /a": "either -P or --output=avail",
    "df -P": "'df' is not understood but with one path",
    "ls /a": "'ls' is not understood without -l",
    "ls -la /a": "'-la' is not understood",
    "echo -n x > /a": "echo writes plain words",
    "echo 'a\\nb' > /a": "echo writes plain words",
    "echo x": "'echo' is not understood",
    "scp /a host:": "'scp' is not understood but with one path",
    "scp -t -f /a": "either -t or -f",
    "scp -t -S evil /a": "'-S' is not understood",
    # what only a shell could do
    "cat > ~/x": "'~' is not understood",
    "dd of=~/x": "'~' is not understood",
    "dd of=$HOME/x": "variables",
    'dd of="$HOME/x"': "variables",
    "dd of=`id`": "command substitution",
    'dd of="`id`"': "command substitution",
    "dd of=/a*": "file name patterns",
    "dd of=/a?": "file name patterns",
    "dd of=/[ab]": "file name patterns",
    "dd of=/{a,b}": "brace expansion",
    "(exit)": "subshells",
    "cat < /etc/passwd > /a": "input redirection",
    "cat << x > /a": "input redirection",
    "cat | sh": "pipes",
    "cat > /a || exit": "pipes",
    "cat > /a &": "background",
    "cat >> /a": "'>>' is not understood",
    "cat >| /a": "'>|' is not understood",
    "cat >& /a": "'>&' is not understood",
    "cat 2> /a": "'2>' is not understood",
    "cat > /a > /b": "a second time",
    "cat > /a /b": "it follows the file after '>'",
    "cat >": "'>' names no file",
    "cat > && exit": "'>' names no file",
    "> /a": "'>' follows no command",
    "&& exit": "'&&' follows no command",
    "exit &&": "'&&' is followed by no command",
    "exit # now": "comments",
    "dd of='/a": "a single quote is not closed",
    'dd of="/a': "a double quote is not closed",
    "dd of=/a\\": "a backslash ends the line",
    "dd of=/a\\\n": "a backslash ends the line",
    'dd of="/a\\\nb"': "a backslash ends the line",
    # names that lead elsewhere
    "dd of=/var/crash/../../etc/passwd": "'..' leads out",
    "dd of='/a\nb'": "printable UTF-8 only",
    "dd of=/a\x00b": "printable UTF-8 only",
    "dd of=/a\x1b[2Jb": "printable UTF-8 only",
    "dd of=/a\udcffb": "printable UTF-8 only",
    "dd of=/\u202egnp.exe": "printable UTF-8 only",
}


@pytest.mark.parametrize("line", REFUSED)
def test_anything_else_is_refused_with_its_reason(line: str) -> None:
    """The reason is one printable line that names what was not understood."""
    with pytest.raises(Refused) as refused:
        parse_untrusted(line)
    reason = str(refused.value)
    assert REFUSED[line] in reason
    assert reason.isprintable()
    assert len(reason) <= MAX_REASON


def test_a_line_too_long_is_refused_unread() -> None:
    """16 KiB are enough for every client; more is an attack or an accident."""
    with pytest.raises(Refused, match="at most 16384 bytes"):
        parse_untrusted("exit" + " " * 16384)
    assert parse_untrusted("exit" + " " * 16380) == Exit()
    with pytest.raises(Refused, match="at most 16384 bytes"):
        parse_untrusted("exit" + "\N{BLACK SQUARE}" * 6000)


TOOLS = "dd of= bs= cat echo > >> mkdir -p mv ls -l df -P mktemp -dqp scp -t -f exit umask 077 --"
MARKS = "&& ; ' \" \\ /a .. ~ $ ` # { 1 é authorized_keys"
PIECES = st.sampled_from(
    [*TOOLS.split(), *MARKS.split(), "\n", " ", "\x00", "\udc80", "exec sh -c ''"],
)


def _refusal(line: str) -> str | None:
    try:
        parse_untrusted(line)
    except Refused as refused:
        return str(refused)
    return None


@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=12).map("".join)))
def test_garbage_raises_one_error_only(line: str) -> None:
    """Whatever arrives, the answer is a record or `Refused` with one printable line."""
    reason = _refusal(line)
    assert reason is None or (reason.isprintable() and 0 < len(reason) <= MAX_REASON)


@pytest.mark.parametrize("piece", ["mkdir -p /a&&", "a ", "'a'", "&&", ";\n", "cat >>", "dd of=/a&&", "/"])
def test_a_line_of_the_same_is_answered_in_time(piece: str) -> None:
    """The longest line of any one thing takes milliseconds, and no deep recursion."""
    began = time.process_time()
    assert _refusal((piece * 16384)[:16384])
    assert time.process_time() - began < 1


@given(st.lists(PIECES, max_size=12).map(" ".join))
def test_no_accepted_path_escapes(line: str) -> None:
    """Every path of every record stays below the root, in printable parts."""
    try:
        command = parse_untrusted(line)
    except Refused:
        return
    for path in (getattr(command, name, None) for name in ("path", "old", "new", "parent", "then_move_to")):
        if path is not None:
            assert isinstance(path, paths.ClientPath)
            assert not {"", ".", ".."} & set(path.parts)
            assert all("/" not in part and part.isprintable() for part in path.parts)
