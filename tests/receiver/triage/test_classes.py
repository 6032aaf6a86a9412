"""Each kind of crash gets its class, its title and its function, on every architecture in its own way.

The logs are tests/data/oopses: written by hand in the kernel's formats, what they are to be called on top.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.triage.answer import triage_untrusted
from receiver.triage.rules import builtin
from tests.builders.kernel_logs import log, quiet

OOPSES = sorted((Path(__file__).parents[2] / "data" / "oopses").glob("*.txt"))


def expected(path: Path) -> tuple[dict[str, str], bytes]:
    """The header's words, and the log below."""
    header, _, body = path.read_bytes().partition(b"\n\n")
    words = (line.partition(":") for line in header.decode().splitlines())
    return {name: value.strip() for name, _, value in words}, body


@pytest.mark.parametrize("path", OOPSES, ids=lambda path: path.stem)
def test_each_kind_of_crash_is_named_as_the_field_names_it(path: Path) -> None:
    """Class, title, function and module, after a quiet past."""
    words, body = expected(path)
    report = triage_untrusted(quiet(10) + body)
    told = {
        "class": report.crash_class,
        "title": report.title,
        "function": report.function or "",
        "module": report.module or "",
    }
    assert told == words, report.explanation


def test_every_class_of_the_rules_has_an_example() -> None:
    """A class without an example is a claim nobody checked."""
    shown = {expected(path)[0]["class"] for path in OOPSES}
    assert set(builtin().classes) - shown == {"reboot"}, "reboot has its test in test_oops.py"


def test_a_healthy_log_reports_no_crash() -> None:
    """Words that merely look like a report are none."""
    report = triage_untrusted(
        log(
            "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 2.277 msecs",
            "WARNING: The mand mount option has been deprecated and",
            "XFS (loop4): WARNING: Reset corrupted AGFL on AG 0. 1 blocks leaked.",
            "INFO: lockdep is turned off.",
            "EXT4-fs (sda1): INFO: recovery required on readonly filesystem",
            "acme: DEBUG: unable to handle this frame",
            "mce: [Hardware Error]: Machine check events logged",
            "DEBUG: scheduling is fine",
        )
    )
    assert (report.crash_class, report.title) == ("none", "")
