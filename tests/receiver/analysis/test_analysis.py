"""drgn on dumps, in a process of its own."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.analysis import debuginfo, runner
from receiver.analysis.runner import AnalysisFailed, Bounds, analyse
from tests.builders import flattened

pytestmark = pytest.mark.skipif(not runner.available(), reason="drgn has no wheel for this machine")

BUILD_ID = "978cb471a8ac0ced28177fffc9528c89d7ba0608"


@pytest.fixture(scope="module")
def core(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dump of tests/data, rearranged."""
    path = tmp_path_factory.mktemp("core") / "vmcore"
    flattened.rearrange((data / "vmcore.flat").read_bytes(), path)
    return path


def test_without_debuginfo_kallsyms_say_where_each_processor_was(core: Path) -> None:
    """A kernel from 6.0 on names its own functions: the one that crashed was in __crash_kexec."""
    found = analyse(core, None, Bounds())
    assert found["symbols"] == "kallsyms"
    assert [processor["cpu"] for processor in found["processors"]] == [0, 1]
    assert found["processors"][0]["function"] == "__crash_kexec"


def test_a_vmlinux_of_another_kernel_is_a_problem_and_no_answer(core: Path) -> None:
    """Symbols of the wrong kernel would tell lies: drgn refuses them, and kallsyms stand in."""
    found = analyse(core, Path(sys.executable), Bounds())
    assert found["symbols"] == "kallsyms"
    assert any(sys.executable in problem for problem in found["problems"])


def test_what_drgn_cannot_read_is_said_in_one_sentence(tmp_path: Path) -> None:
    """A hostile file ends in AnalysisFailed, whatever drgn makes of it."""
    bad = tmp_path / "vmcore"
    bad.write_bytes(b"KDUMP   " + b"\xff" * 100_000)
    with pytest.raises(AnalysisFailed, match="drgn failed"):
        analyse(bad, None, Bounds())


def test_an_analysis_that_takes_too_long_is_ended(core: Path) -> None:
    """Its bound is wall time, too: a process that sleeps uses no processor."""
    with pytest.raises(AnalysisFailed, match=r"no answer within 0\.01 s"):
        analyse(core, None, Bounds(seconds=0.01))


def test_an_analysis_cannot_take_all_memory(core: Path) -> None:
    """With a bound too small to live in it fails, and only it."""
    with pytest.raises(AnalysisFailed):
        analyse(core, None, Bounds(memory_bytes=64 << 20))


@pytest.mark.parametrize(
    ("build_id", "release"),
    [
        ("../../../../etc/passwd", None),
        (None, "../../etc/passwd"),
        (None, "a/b"),
        ("zz" * 20, None),
        (None, None),
    ],
)
def test_a_dump_cannot_name_a_file_outside(build_id: str | None, release: str | None, tmp_path: Path) -> None:
    """Build-id and release come out of hostile bytes; they are no paths."""
    assert debuginfo.find(build_id, release, [tmp_path, Path("/")]) is None


@pytest.mark.parametrize(
    "where", [f".build-id/97/{BUILD_ID[2:]}.debug", "boot/vmlinux-6.1.0", "lib/modules/6.1.0/vmlinux"]
)
def test_the_layouts_of_the_distributions_are_known(where: str, tmp_path: Path) -> None:
    """GDB's, Debian's and Fedora's."""
    (tmp_path / where).parent.mkdir(parents=True)
    (tmp_path / where).touch()
    assert debuginfo.find(BUILD_ID, "6.1.0", [tmp_path / "none", tmp_path]) == tmp_path / where


@pytest.fixture
def debuginfod() -> Iterator[str]:
    """A server that has one vmlinux, and a port where none is."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"/buildid/{BUILD_ID}/debuginfo"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b"\x7fELF of that kernel" if known else b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_debuginfod_is_asked_once(debuginfod: str, tmp_path: Path) -> None:
    """What it sent is kept; servers that are away or know nothing are passed over."""
    urls = ["http://127.0.0.1:9", f"{debuginfod}/nothing", f"{debuginfod}/"]
    kept = debuginfo.fetch(BUILD_ID, urls, tmp_path / "cache")
    assert kept is not None
    assert kept.read_bytes() == b"\x7fELF of that kernel"
    assert debuginfo.fetch(BUILD_ID, [], tmp_path / "cache") == kept
    assert debuginfo.fetch("0" * 40, urls, tmp_path / "cache") is None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [kept.name]


def test_other_schemes_are_not_followed(tmp_path: Path) -> None:
    """file:// of a settings file's typing error would copy anything."""
    assert debuginfo.fetch(BUILD_ID, ["file:///etc"], tmp_path) is None


@pytest.mark.slow
@pytest.mark.shared
def test_with_debians_debuginfo_the_stack_has_files_and_lines(shared: Path, tmp_path: Path) -> None:
    """Debian's own debug package (280 MB) for a dump that Debian's own kdump-tools sent."""
    package = "linux-image-6.1.0-56-cloud-amd64-dbg"
    fetched = subprocess.run(["apt-get", "download", "-qq", package], cwd=tmp_path, timeout=900, check=False)
    if fetched.returncode:
        pytest.skip(f"{package} is not to be had here")
    (deb,) = tmp_path.glob("*.deb")
    subprocess.run(
        f"dpkg-deb --fsys-tarfile {deb} | tar -x --wildcards './usr/lib/debug/boot/vmlinux-*'",
        cwd=tmp_path, shell=True, check=True, timeout=600,
    )  # fmt: skip
    core = tmp_path / "vmcore"
    flattened.rearrange((shared / "vmcores/debian-stock/m640.dump").read_bytes(), core)
    vmlinux = debuginfo.find(None, "6.1.0-56-cloud-amd64", [tmp_path / "usr/lib/debug"])
    found = analyse(core, vmlinux, Bounds())
    assert found["symbols"] == "debuginfo"
    assert found["problems"] == []
    stack = {frame["function"]: frame for frame in found["crashed"]["stack"]}
    assert stack["sysrq_handle_crash"]["file"] == "drivers/tty/sysrq.c"
    assert found["largest"][0]["rss_bytes"] > 0
