"""`kdumpctl test` reads back what it wrote last."""

from __future__ import annotations

from pathlib import Path

from receiver.spool.admission import Admission
from receiver.spool.dumps import Owner, Spool
from receiver.spool.space import Limits
from receiver.spool.view import View
from receiver.wire.paths import parse_untrusted as path

STATUS = path("/var/crash/kdump-test-1-2/vmcore-creation.status")


def test_the_last_word_counts_within_one_second(tmp_path: Path) -> None:
    """A quick dump writes `fail` and `success` in the same second: the answer is `success`."""
    spool = Spool(tmp_path / "spool", tmp_path / "state")
    view = View(
        spool, Owner("web01", "key", "10.0.0.7"), Admission(spool, Limits(keep_free=0)), clock=lambda: 1.7e9
    )
    for word in (b"fail\n", b"maybe\n", b"success\n"):
        upload = view.begin(STATUS, "echo")
        upload.write(word)
        upload.finish()
    assert view.read_status(STATUS) == b"success\n"
