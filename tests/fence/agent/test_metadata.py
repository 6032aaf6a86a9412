"""The metadata is what cluster tools build their dialogues and their checks on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from fence.agent.metadata import document
from fence.agent.options import ACTIONS, OPTIONS

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent

RNG = Path("/usr/share/cluster/relaxng/metadata.rng")  # of Debian's fence-agents


def test_it_is_valid_by_the_schema_of_fence_agents() -> None:
    """Debian's own metadata.rng, by xmllint."""
    if not RNG.exists():
        pytest.skip(f"{RNG} is not here (fence-agents)")
    done = subprocess.run(
        ["xmllint", "--noout", "--relaxng", RNG, "-"],
        input=document("fence_kdump").encode(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_every_option_is_a_parameter() -> None:
    """pcs refuses an option that the metadata does not have."""
    root = ElementTree.fromstring(document("fence_kdump"))
    parameters = {parameter.get("name"): parameter for parameter in root.iter("parameter")}
    assert list(parameters) == [option.key for option in OPTIONS]
    for option in OPTIONS:
        getopt = parameters[option.key].find("getopt")
        assert getopt is not None
        assert f"--{option.flag}" in str(getopt.get("mixed"))


def test_there_is_no_reboot() -> None:
    """Pacemaker then turns reboot into off; with it, it would take a dumping node for rebooted."""
    root = ElementTree.fromstring(document("fence_kdump"))
    actions = {action.get("name") for action in root.iter("action")}
    assert not {"reboot", "on"} & actions
    assert actions < set(ACTIONS)


def test_there_is_no_list() -> None:
    """Pacemaker would ask it in place of the status, and take its failure for: can fence nobody."""
    assert '"list"' not in document("fence_kdump")
    assert '<action name="status" />' in document("fence_kdump")


@pytest.mark.parametrize("how", ["-o", "--action=metadata", "action=metadata\n", "action=meta-data\n"])
def test_pacemaker_and_people_get_it(start: Callable[..., Agent], how: str) -> None:
    """Pacemaker asks on stdin; the name is that of the installed program."""
    agent = start(stdin=how) if "\n" in how else start(how, *(["metadata"] if how == "-o" else []))
    status, out, err = agent.end()
    assert (status, err) == (0, "")
    assert out == document("fence_kdump")


def test_another_name_is_another_agent() -> None:
    """Installed beside the C agent as fence_kdump_net it has its own type in the cluster."""
    assert '<resource-agent name="fence_&lt;&quot;" ' in document('fence_<"')
