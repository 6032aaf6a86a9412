"""A Debian whose kdump-tools nobody touched dumps to our receiver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.machine import CACHE, lacking, run_qemu
from tests.e2e.server import receiver
from tests.e2e.stock_guest import disk, keep_crash_initrd, stock_argv


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(bool(lacking()), reason=f"for want of {', '.join(lacking())}")
def test_unmodified_kdump_tools_dump_to_our_receiver(tmp_path: Path) -> None:
    """SSH= and SSH_KEY= of /etc/default/kdump-tools, as its documentation says, and nothing else."""
    with receiver(tmp_path / "receiver", "debian-stock") as ours:
        image = disk(tmp_path / "stock.img", "kdump@10.0.2.2", ours.port, ours.key)
        (CACHE / "last").mkdir(parents=True, exist_ok=True)
        run = run_qemu(stock_argv(image), CACHE / "last/stock-receiver.log", 900)
        dumps = ours.dumps()
        keep_crash_initrd(image)
    assert [dump["verdict"] for dump in dumps] == ["complete"], run.text[-3000:]
    assert dumps[0]["host"] == "debian-stock"
    assert "sysrq triggered crash" in json.dumps(dumps[0]), dumps
    # not a word of ours hurts a client that never heard of it
    assert "kdump-receiver: the core is complete" in run.text
    assert "saved vmcore in kdump@10.0.2.2" in run.text
