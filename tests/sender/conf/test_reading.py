"""kdump.conf is read as its users wrote it, and every mistake is answered with line and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.conf.model import Config, read_file, read_text
from sender.conf.options import BY_NAME, OPTIONS
from sender.conf.targets import Filesystem, Local, Nfs, Raw, Ssh
from sender.failure import ConfError


def config(text: str) -> Config:
    reading = read_text(text)
    assert reading.config is not None, [str(p) for p in reading.problems]
    return reading.config


def complaint(text: str) -> str:
    reading = read_text(text, "/etc/kdump.conf")
    assert reading.config is None, reading
    return "\n".join(str(p) for p in reading.problems if p.fatal)


def test_an_empty_file_dumps_to_var_crash_of_this_host() -> None:
    """What holds where nothing is said: the values of the field."""
    empty = config("")
    assert empty.targets == (Local(),)
    assert (empty.path, empty.failure_action, empty.final_action) == ("/var/crash", "reboot", "reboot")
    assert (empty.disk_timeout, empty.link_delay, empty.debug_mem_level) == (180, 0, 0)
    assert empty.collector.program == "makedumpfile"


def test_the_stock_file_of_rhel_6_is_obeyed(shared: Path) -> None:
    """The seed's sample: comments, indented examples, two directives."""
    text = next((shared / "seeds").glob("*.txt")).read_text()
    sample = text[text.index("# Configures where") : text.index("Related Post")]
    # the page that carried it lost the '#' of nothing; what is not commented are two directives
    stock = config(sample)
    assert stock.path == "/var/crash"
    assert stock.collector.words == ("makedumpfile", "-c", "--message-level", "1", "-d", "31")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("path /a", "/a"),
        ("  path\t /a  ", "/a"),
        ('path "/a"', "/a"),
        ("path /a # with a reason", "/a"),
        ("path /a #", "/a"),
        ("path /a#b", "/a"),  # kdump-utils cuts at the first #
        ("\ufeffpath /a\r\n", "/a"),
        ("path //a//b/", "/a/b"),
        ("#path /b\n   # path /c\npath /a", "/a"),
    ],
)
def test_blanks_quotes_and_comments_are_no_part_of_a_value(text: str, path: str) -> None:
    """As kdump-lib-initramfs.sh reads them."""
    assert config(text).path == path


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("ssh kdump@server", Ssh("kdump", "server")),
        ("ssh kdump@server.example.com:2222", Ssh("kdump", "server.example.com", 2222)),
        ("ssh ssh://kdump@server:2222", Ssh("kdump", "server", 2222)),
        ("ssh kdump@2001:db8::1", Ssh("kdump", "2001:db8::1")),
        ("ssh kdump@[2001:db8::1]:22", Ssh("kdump", "2001:db8::1", 22)),
        ("net kdump@server", Ssh("kdump", "server")),
        ("net server:/export/tmp", Nfs("server", "/export/tmp")),
        ("nfs server:/export/tmp", Nfs("server", "/export/tmp")),
        ("nfs4 server:/export", Nfs("server", "/export", 4)),
        ("nfs [2001:db8::1]:/x", Nfs("2001:db8::1", "/x")),
        ("raw /dev/sda5", Raw("/dev/sda5")),
        ("ext4 /dev/mapper/vg-crash", Filesystem("ext4", "/dev/mapper/vg-crash")),
        ("ext4 LABEL=/boot", Filesystem("ext4", "LABEL=/boot")),
        (
            "xfs UUID=03138356-5e61-4ab3-b58e-27507ac41937",
            Filesystem("xfs", "UUID=03138356-5e61-4ab3-b58e-27507ac41937"),
        ),
        ('ext4 LABEL="boot"', Filesystem("ext4", "LABEL=boot")),
        ("virtiofs myfs", Filesystem("virtiofs", "myfs")),
    ],
)
def test_every_kind_of_target_is_understood(line: str, target: object) -> None:
    """One line, one record."""
    assert config(line).targets == (target,)


def test_fallbacks_are_tried_in_the_order_they_stand() -> None:
    """With a path of their own where one is given."""
    read = config(
        "ssh a@b\nfallback ssh c@d /other\nfallback ext4 /dev/vdb1\nfallback local /var/spool/kdump"
    )
    assert read.targets == (
        Ssh("a", "b"),
        Ssh("c", "d", path="/other"),
        Filesystem("ext4", "/dev/vdb1"),
        Local("/var/spool/kdump"),
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("path crash", "'crash' is not an absolute path; write it from the root"),
        ("path", "path names no directory"),
        ("path /a b", "'/a b' holds blanks"),
        ("path /a/../b", "climbs with '..'"),
        ("path /a;reboot", "characters that ssh servers and shells read differently"),
        ("path /%HOSTS/%WHEN", "'%WHEN' stands for nothing; write %HOST or %DATE"),
        ("ssh server", "names no user; write `ssh <user>@server`"),
        ("ssh a@b c@d", "has words too many"),
        ("ssh", "`ssh` names no place; write `ssh user@my.server.com`"),
        ("ssh a:secret@b", "a password stands in the ssh target; write `ssh a@b`"),
        ("ssh a@b:99999", "'99999' is no port"),
        ("ssh a@-oProxyCommand=x", "is no host name or address"),
        ("ssh -oProxyCommand=x@b", "is no user name"),
        ("nfs server", "names no export; write `nfs server:/export`"),
        ("raw sda5", "Bad raw partition sda5; write its device node"),
        ("raw UUID=1", "Bad raw partition UUID=1"),
        ("ext4 sda5", "'sda5' is no block device"),
        ("ext5 /dev/sda1", "Invalid kdump config option ext5; did you mean ext"),
        ("frobnicate 1", "Invalid kdump config option frobnicate"),
        ("disk_timeout soon", "'soon' is not between 0 and 86400; write a whole number"),
        ("disk_timeout -1", "not between"),
        ("debug_mem_level 4", "'4' is not between 0 and 3"),
        ("default crash", "'crash' is not known here; write one of reboot, halt, poweroff, shell"),
        ("final_action shell", "write one of reboot, halt, poweroff"),
        ("core_collector", "core_collector names no command"),
        ("core_collector makedumpfile -d 31 | gzip", "is shell syntax"),
        ("core_collector makedumpfile --dump-dmesg", "writes only the log"),
        ("core_collector makedumpfile -R", "reads a stream"),
        ("ssh a@b\ncore_collector cp", "cp cannot reach an ssh target (`a@b`); write `core_collector scp`"),
        ("ext4 /dev/vda1\ncore_collector scp", "scp needs an ssh target"),
        ("raw /dev/vda1\ncore_collector cp", "a raw partition holds none"),
        ("kdump_pre a.sh", "'a.sh' is not an absolute path"),
        ("kdump_pre /a.sh --fast", "is not one path; name one executable"),
        ("extra_bins", "names nothing where a program is wanted"),
        ("extra_modules gfs2.ko", "'gfs2.ko' is a file name; write gfs2"),
        ("blacklist kernel/drivers/net", 'Do not support the directory "kernel/drivers/net" for blacklist'),
        ("options e1000", "no parameter for the module e1000"),
        ("options e1000 ;x", "is no module parameter"),
        ("fence_kdump_args -x 1", "fence_kdump_send has no option '-x'"),
        ("fence_kdump_args -p", "-p has no value"),
        ("fence_kdump_args -p 70000", "'70000' is not between 1 and 65535"),
        ("fence_kdump_args -f ipv5", "write one of auto, ipv4, ipv6"),
        ("fence_kdump_nodes localhost", "Option fence_kdump_nodes cannot contain localhost"),
        ("fence_kdump_nodes a;b", "'a;b' is no node"),
        ("dracut_args --mount a --mount b", 'Multiple mount targets specified in one "dracut_args".'),
        ("kexec_args --initrd=/x", "kexec_args cannot hold --initrd"),
        ("force_rebuild yes", "'yes' is not between 0 and 1"),
        ("fallback cephfs x", "'cephfs' is no kind of fallback target"),
        ('path "/a', 'opens a " that nothing closes'),
        ("path /a\x00", "a byte that is no text"),
    ],
)
def test_each_mistake_names_file_line_fault_and_remedy(line: str, words: str) -> None:
    """One sentence that a person can act on; nothing of a fatal file is obeyed."""
    text = complaint(f"# first\n{line}\n")
    assert words in text
    assert re.match(r"/etc/kdump\.conf:[23]: .+; .+", text)


def test_a_second_target_is_a_mistake_that_tells_of_fallback() -> None:
    """kdump-utils refuses two targets; here the second may be meant as a fallback, but must say so."""
    text = complaint("ssh a@b\n\nnfs c:/d\n")
    assert text == (
        "/etc/kdump.conf:3: More than one dump targets specified (line 1 has `ssh`);"
        " to try it after that one, write `fallback nfs c:/d`"
    )


@pytest.mark.parametrize(
    "name",
    [
        o.name
        for o in OPTIONS
        if o.repeat.name == "ERROR" and o.name in ("path", "sshkey", "default", "link_delay")
    ],
)
def test_a_word_said_twice_is_a_mistake(name: str) -> None:
    """Which of the two counts is nobody's to guess."""
    value = {"path": "/a", "sshkey": "/k", "default": "halt", "link_delay": "1"}[name]
    assert f"Duplicated kdump config value of option {name} (line 1" in complaint(
        f"{name} {value}\n{name} {value}\n"
    )


def test_lists_grow_with_each_line() -> None:
    """blacklist, extra_* and options may stand many times."""
    read = config(
        "blacklist a b\nblacklist c\nextra_bins /x\nextra_bins /y /z\noptions m a=1\noptions n b=2 c\n"
    )
    assert read.blacklist == ("a", "b", "c")
    assert read.extra_bins == ("/x", "/y", "/z")
    assert read.options == (("m", "a=1"), ("n", "b=2", "c"))


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    """In the order of their lines."""
    lines = complaint("path crash\nfoo\ndebug_mem_level 9\n").splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]


def test_net_warns_and_works() -> None:
    """Deprecated since RHEL 6, refused by RHEL 7; here it still names the target."""
    reading = read_text("net kdump@server", "f")
    assert reading.config is not None
    assert [str(p) for p in reading.problems] == [
        "f:1: warning: 'net' is deprecated; write ssh or nfs instead"
    ]


@pytest.mark.parametrize(
    ("text", "failure", "final"),
    [
        ("default halt", "halt", "halt"),  # RHEL 6: regardless of success or failure
        ("default poweroff", "poweroff", "poweroff"),
        ("default shell", "shell", "reboot"),
        ("default mount_root_run_init", "mount_root_run_init", "reboot"),
        ("failure_action halt", "halt", "reboot"),
        ("failure_action dump_to_rootfs\nfinal_action poweroff", "dump_to_rootfs", "poweroff"),
        ("default halt\nfinal_action reboot", "halt", "reboot"),
        ("default shell\nfailure_action shell", "shell", "reboot"),
    ],
)
def test_default_of_rhel_6_also_speaks_of_success(text: str, failure: str, final: str) -> None:
    """failure_action does not; final_action has the last word."""
    read = config(text)
    assert (read.failure_action, read.final_action) == (failure, final)


@pytest.mark.parametrize(
    "text",
    [
        "default halt\nfailure_action reboot",
        "force_rebuild 1\nforce_no_rebuild 1",
        "extra_modules a\nblacklist a",
        "ssh a@b\nfallback ssh a@b",
    ],
)
def test_contradictions_are_mistakes(text: str) -> None:
    """Each names the line to change."""
    assert complaint(text)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    """With the field's words, and exit status 78."""
    with pytest.raises(ConfError, match="No kdump config file found") as caught:
        read_file(tmp_path / "kdump.conf")
    assert caught.value.exit_code == 78


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_without_an_exception(text: str) -> None:
    """A file from anywhere cannot break `kdump check`."""
    reading = read_text(text)
    assert (reading.config is None) == any(p.fatal for p in reading.problems)


@given(st.sampled_from(sorted(BY_NAME)), st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_any_value_of_any_word_is_read_or_refused(name: str, value: str) -> None:
    """The option parsers raise nothing but their own error, and never look at the host."""
    read_text(f"{name} {value}")


@given(
    st.lists(
        st.sampled_from(["path /a", "ssh a@b", "blacklist x", "default halt", "# c", "", "net a:/b"]),
        max_size=8,
    )
)
def test_what_is_accepted_is_accepted_again_without_comments(lines: list[str]) -> None:
    """Comments and blank lines carry no meaning."""
    reading = read_text("\n".join(lines))
    bare = read_text("\n".join(line for line in lines if line and not line.startswith("#")))
    assert reading.config == bare.config
