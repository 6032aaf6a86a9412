"""deploy/pacemaker/install-agent: the agent where there is the system's Python and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[3] / "deploy" / "pacemaker" / "install-agent"
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def sbin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both programs, installed for the system's Python."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", check]).returncode:
        pytest.skip(f"{SYSTEM_PYTHON} is not Python 3.11 or later")
    root = tmp_path_factory.mktemp("root")
    places = {"LIB": str(root / "lib"), "SBIN": str(root / "sbin"), "AGENT": "fence_kdump_net"}
    for _ in range(2):  # an update over an old one
        subprocess.run([INSTALL], check=True, env={**os.environ, **places})
    return root / "sbin"


def test_both_programs_run_on_the_standard_library_alone(sbin: Path) -> None:
    """-I and -S: nothing of site-packages is in reach, so nothing of it is needed."""
    agent, sender = sbin / "fence_kdump_net", sbin / "fence_kdump_send"
    out = subprocess.run(
        [agent], input="action=metadata\n", capture_output=True, text=True, check=True
    ).stdout
    assert '<resource-agent name="fence_kdump_net"' in out
    for program in (agent, sender):
        out = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
        assert out.startswith(f"{program.name} 0.")
    subprocess.run([sender, "--test", "--node", "n1", "-p", "9", "127.0.0.1"], check=True)


def test_the_agent_loads_nothing_heavy(sbin: Path) -> None:
    """trio alone would take 140 ms of CPU; `make bench` measures the start itself."""
    taken = []
    for _ in range(5):
        agent = subprocess.Popen([sbin / "fence_kdump_net", "-o", "validate-all"])
        _, status, usage = os.wait4(agent.pid, 0)
        agent.returncode = os.waitstatus_to_exitcode(status)
        assert agent.returncode == 0
        taken.append(usage.ru_utime + usage.ru_stime)
    assert min(taken) < 0.140


def test_packagers_get_a_tree(tmp_path: Path) -> None:
    """DESTDIR goes before the paths and into none of the files."""
    environment = {**os.environ, "DESTDIR": str(tmp_path), "SEND": "/usr/libexec/fence_kdump_send"}
    subprocess.run([INSTALL], check=True, env=environment)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"usr/sbin/fence_kdump", "usr/libexec/fence_kdump_send"} <= {
        str(path.relative_to(tmp_path)) for path in files
    }
    assert not [path for path in files if str(tmp_path).encode() in path.read_bytes()]
