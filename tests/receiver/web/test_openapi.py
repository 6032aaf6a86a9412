"""schemathesis against the real server: whatever its own OpenAPI document allows, and what it does not."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import httpx

from tests.rig.receiver import Client, Receiver
from tests.rig.web import ask, send

SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"
# What is text in the schema may still be no time, no cursor, no key: 422 says so, with the reason.
NOT_ASKED = "positive_data_acceptance"


def test_the_server_does_what_its_document_says(tmp_path: Path, data: Path) -> None:
    """Every operation, by generated requests, right ones and wrong ones.

    Answers have a documented status, media type and shape; wrong data is refused; nothing is a
    500; a method that is not there is answered with 405 and Allow.
    """
    with Receiver(tmp_path, web="127.0.0.1:0") as running:
        send(Client.enrolled(running, "web01"), data / "vmcore.flat")
        url = f"{running.ready['web']}/api/v1"
        with ask(running) as web:
            document = web.get("/api/v1/openapi.json").json()
        assert document["openapi"] == "3.1.0"
        line = [str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--phases", "coverage,fuzzing"]
        line += ["--checks", "all", "--exclude-checks", NOT_ASKED]
        line += ["-n", "20", "--generation-deterministic", "--warnings", "off", "--no-color"]
        line += ["--request-timeout", "30", "--suppress-health-check", "all"]
        environment = os.environ | {"NO_PROXY": "127.0.0.1", "COLUMNS": "120"}
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        operations = sum(
            method in {"get", "put", "post", "delete"}  # a path's parameters stand among them
            for path, methods in document["paths"].items()
            for method in methods
            if path != "/openapi.json"  # schemathesis leaves out the document that it reads
        )
        assert f"Tested: {operations}\n" in done.stdout, done.stdout[-3000:]
        assert "Traceback" not in running.log.read_text()
        assert httpx.get(f"{running.ready['web']}/readyz", trust_env=False, timeout=60).status_code == 200
