"""The core decides about power: this fails when a branch of it is not run by its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORE = ("message", "session", "node", "table", "addresses", "listed", "calm", "standing")


def test_every_branch_of_the_core_is_tested(tmp_path: Path) -> None:
    """message, node, table and what they stand on: 100 %, branches too, by their own tests alone."""
    tests = [str(HERE / f"test_{name}.py") for name in CORE if (HERE / f"test_{name}.py").exists()]
    coverage = [sys.executable, "-m", "coverage"]
    environment = os.environ | {"COVERAGE_FILE": str(tmp_path / "coverage")}
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    run = [*coverage, "run", "--branch", "--data-file", str(tmp_path / "coverage"), "--rcfile=/dev/null"]
    done = subprocess.run(
        [*run, "--source=fence", *pytest],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    modules = ",".join(f"fence/{name}.py" for name in CORE)
    report = [
        *coverage,
        "report",
        "--rcfile=/dev/null",
        f"--include={modules}",
        "--show-missing",
        "--fail-under=100",
    ]
    told = subprocess.run(report, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stdout
