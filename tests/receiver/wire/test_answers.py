"""What we print is what the clients' own parsers, and the real tools, make of it."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.wire import answers
from receiver.wire.paths import parse_untrusted

C = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def _run(script: str, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *arguments],
        input=text,
        env=C,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("available", [0, 1023, 1 << 30, 123 << 40])
def test_the_free_space_is_parsed_by_each_client(available: int) -> None:
    """RHEL6 takes field 4 of the last line, RHEL7 the last but two of all, kdump-utils the last line."""
    kilobytes = str(available // 1024)
    posix = answers.df_posix(200 << 40, available)
    assert _run("tail -1 | tr -s ' ' '|' | cut -d'|' -f4", text=posix).stdout.strip() == kilobytes
    assert _run("echo $(cat) | awk '{print $(NF-2)}'", text=posix).stdout.strip() == kilobytes
    avail = answers.df_avail(available)
    assert _run("tail -1 | tr -d ' '", text=avail).stdout.strip() == kilobytes


def test_df_looks_as_df_does() -> None:
    """The same columns and header as the real one, and a sane share used."""
    ours = answers.df_posix(1000 * 1024, 251 * 1024)
    assert ours == (
        "Filesystem     1024-blocks Used Available Capacity Mounted on\n"
        "kdump                 1000  749       251      75% /\n"
    )
    assert _run("df -P /").stdout.split("\n")[0].split() == ours.split("\n")[0].split()
    assert _run("df --output=avail /").stdout.split("\n")[0] == answers.df_avail(10**9).split("\n")[0].rjust(
        len(_run("df --output=avail /").stdout.split("\n")[0])
    )
    assert answers.df_posix(0, 0).split()[-2] == "-"


@pytest.mark.parametrize("age_days", [0, 1, 200, 4000])
def test_a_listing_is_what_ls_prints(tmp_path: Path, age_days: int) -> None:
    """Owner and path aside, the line is the real tool's; the size is its fifth field."""
    file = tmp_path / "vmcore-incomplete"
    file.write_bytes(b"x" * 1234)
    file.chmod(0o600)
    now = time.time()
    os.utime(file, (now, now - age_days * 86400))
    theirs = _run('ls -l "$1"', file).stdout.split(maxsplit=4)
    ours = answers.ls_long(str(file), 1234, file.stat().st_mtime, now).split(maxsplit=4)
    assert ours[0] == theirs[0]
    assert ours[4] == theirs[4]
    assert _run("awk '{print $5}'", text=answers.ls_long("/a", 77, now, now)).stdout == "77\n"


def test_a_file_of_tomorrow_shows_its_year() -> None:
    """ls never shows a time of day for a clock that runs ahead."""
    assert answers.ls_long("/a", 0, 86400 * 2, 86400).split()[5:8] == ["Jan", "3", "1970"]


@given(st.binary(min_size=8, max_size=16))
def test_the_temporary_directory_is_named_as_mktemp_names_it(random: bytes) -> None:
    """`tmp.` and ten letters or digits, so it is one name that needs no quotes."""
    name = answers.mktemp_name(random)
    assert re.fullmatch(r"tmp\.[A-Za-z0-9]{10}", name)
    assert parse_untrusted(name).name == name


def test_temporary_names_differ() -> None:
    """Different randomness, different names."""
    assert len({answers.mktemp_name(os.urandom(8)) for _ in range(1000)}) == 1000


SIZES = [0, 1, 2, 511, 512, 513, 999, 1000, 1001, 1023, 1024, 1025, 1500, 9949, 9950, 10_050, 12_345, 99_949]
MORE = [999_499, 999_500, 999_999, 1_000_000, 1_048_575, 1_048_576, 4_500_000, 10_188_000]


@pytest.mark.parametrize("size", [*SIZES, *MORE])
def test_the_summary_is_what_dd_prints(size: int) -> None:
    """Its three lines on the console look as they always did; only the time is ours."""
    done = subprocess.run(
        ["dd", "bs=512", "of=/dev/null", "iflag=fullblock"],
        input=bytes(size),
        env=C,
        capture_output=True,
        timeout=30,
    )
    theirs = done.stderr.decode()
    seconds = re.search(r"copied, (\S+) s, ", theirs)
    assert seconds is not None
    ours = answers.dd_summary(size, float(seconds[1]))
    # dd computes the rate from unrounded time: its last digit may differ from the rate of the time shown.
    assert ours.rpartition(", ")[0] == theirs.rpartition(", ")[0]
    ours_rate, theirs_rate = (text.rpartition(", ")[2].split()[0] for text in (ours, theirs))
    assert float(ours_rate) == pytest.approx(float(theirs_rate), rel=0.02)


@pytest.mark.parametrize(
    ("size", "seconds", "ending"),
    [
        (812646400, 41.2, "812646400 bytes (813 MB, 775 MiB) copied, 41.2 s, 19.7 MB/s\n"),
        (1 << 40, 3600.0, "1099511627776 bytes (1.1 TB, 1.0 TiB) copied, 3600 s, 305 MB/s\n"),
        (999_999, 1.5, "999999 bytes (1.0 MB, 977 KiB) copied, 1.5 s, 667 kB/s\n"),
        (100, 7.0, "100 bytes copied, 7 s, 0.0 kB/s\n"),
        (0, 0.0, "0 bytes copied, 0 s, Infinity B/s\n"),
    ],
)
def test_the_summary_of_large_dumps(size: int, seconds: float, ending: str) -> None:
    """Units grow as dd's do."""
    assert answers.dd_summary(size, seconds).endswith(ending)


def test_the_summary_counts_blocks_as_asked() -> None:
    """`bs=1M` is told in records of 1 MiB."""
    assert answers.dd_summary(3 << 20, 1.0, 1 << 20).startswith("3+0 records in\n3+0 records out\n")


def test_the_last_word_on_a_core_is_one_printable_line() -> None:
    """Whatever a client called its directory; a console shows it."""
    assert answers.kept("complete", "", "web01/10.0.0.5-2026") == (
        "kdump-receiver: the core is complete, kept in web01/10.0.0.5-2026\n"
    )
    line = answers.kept("damaged", "page 7\nis not there", "web01/\x1b[2J")
    assert line.startswith("kdump-receiver: the core is damaged (page 7\\nis not there), kept in web01/")
    assert line.removesuffix("\n").isprintable()


REAL = {
    "dd": ('dd of="$1" </dev/null', "missing/f", errno.ENOENT),
    "cat": ('cat > "$1" </dev/null', "missing/f", errno.ENOENT),
    "echo": ('echo x > "$1"', "missing/f", errno.ENOENT),
    "df": ('df -P "$1"', "missing", errno.ENOENT),
    "ls": ('ls -l "$1"', "missing", errno.ENOENT),
    "mkdir": ('mkdir "$1"', "there", errno.EEXIST),
    "rmdir": ('rmdir "$1"', "missing", errno.ENOENT),
    "mktemp": ('mktemp -dp "$1"', "missing", errno.ENOENT),
}


@pytest.mark.parametrize("tool", REAL)
def test_errors_read_as_the_tool_s_own(tmp_path: Path, tool: answers.Tool) -> None:
    """An admin who reads the console of a crashed host meets a message that search engines know."""
    script, name, code = REAL[tool]
    (tmp_path / "there").mkdir()
    path = str(tmp_path / name)
    theirs = _run(script, path).stderr.replace("Directory nonexistent", os.strerror(errno.ENOENT))
    theirs = re.sub(r"tmp\.\w{10}", "tmp.XXXXXXXXXX", theirs)
    assert answers.failure(tool, path, code) == theirs


def test_moving_nothing_reads_as_mv_s_own(tmp_path: Path) -> None:
    """A rename of what is not there, and of what may not be."""
    path = str(tmp_path / "missing")
    theirs = _run('mv "$1" "$1.new"', path).stderr
    assert answers.failure("mv", path, errno.ENOENT) == theirs
    refused = answers.failure("mv", "/a", errno.EACCES, to="/b")
    assert refused == "mv: cannot move '/a' to '/b': Permission denied\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("tool", ["dd", "cat"])
def test_a_full_disk_reads_as_the_tool_s_own(tool: answers.Tool) -> None:
    """Full means that the writing failed, not the opening."""
    script = {"dd": "dd of=/dev/full status=none", "cat": "cat > /dev/full"}[tool]
    assert answers.failure(tool, "/dev/full", errno.ENOSPC) == _run(script, text="x").stderr


def test_error_texts_are_one_printable_line() -> None:
    """A hostile name cannot forge a second line."""
    text = answers.failure("dd", "/a\n\x1b[31m", errno.EACCES)
    assert text == "dd: failed to open '/a\\n\\x1b[31m': Permission denied\n"
    assert answers.scp_failure("/a: No\nsuch") == b"\x01scp: /a: No\\nsuch\n"
    assert answers.scp_failure("lost", fatal=True) == b"\x02scp: lost\n"
