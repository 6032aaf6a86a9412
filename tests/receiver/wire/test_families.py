"""From what a client says, over its many connections, the receiver knows which kdump it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.wire.commands import parse_untrusted
from receiver.wire.families import Banner, Family, Observation, SftpFile, observe
from receiver.wire.paths import parse_untrusted as path

RED_HAT = Family.from_text("kdump-utils|rhel7|rhel6|rhel6.0|rhel5")
BANNER = "OpenSSH_9.2p1 Debian-2+deb12u10"
T = "/var/crash/10.0.1.7-2024-04-02-11:22:33"
DEB = "/var/crash/10.0.1.7-202404021122"
OLD = "/dump/10.0.1.7-2017-06-02-11:22"
NEW = "/var/crash/web01-2024-04-02-11-22"

SAID: dict[str, tuple[str, list[str]]] = {
    "rhel6.0": ("OpenSSH_5.3", [f"mkdir {T}", f"cat > {T}/vmcore-incomplete"]),
    "rhel5": ("OpenSSH_4.3", [f"mkdir {T}", f"scp -t {T}/vmcore-incomplete"]),
    "rhel6": (
        "OpenSSH_5.3",
        [
            f"mkdir {T}",
            f"dd of={T}//vmcore-dmesg-incomplete.txt",
            f"mv {T}//vmcore-dmesg-incomplete.txt {T}//vmcore-dmesg.txt",
            f"scp -t {T}/vmcore-incomplete",
            f"ls -l {T}/vmcore-incomplete",
            f"mv {T}/vmcore-incomplete {T}/vmcore",
        ],
    ),
    "rhel7": (
        "OpenSSH_7.4",
        [
            f"mkdir -p {T}",
            f"dd of={T}/vmcore-dmesg-incomplete.txt",
            f"mv {T}/vmcore-dmesg-incomplete.txt {T}/vmcore-dmesg.txt",
            f"dd bs=512 of={T}/vmcore-incomplete",
            f"mv {T}/vmcore-incomplete {T}/vmcore.flat",
        ],
    ),
    "kdump-utils": (
        "OpenSSH_9.9",
        [
            f"mkdir -p {T}",
            f"umask 0077 && dd of='{T}/vmcore-dmesg-incomplete.txt'",
            f"mv {T}/vmcore-dmesg-incomplete.txt {T}/vmcore-dmesg.txt",
            f"umask 0077 && dd bs=512 of='{T}/vmcore-incomplete'",
            f"mv '{T}/vmcore-incomplete' '{T}/vmcore.flat'",
            f"scp -t {T}/",
        ],
    ),
    "debian": (
        "OpenSSH_8.4p1 Debian-5+deb11u3",
        [
            f"mkdir -p {DEB}",
            f"scp -t {DEB}/dmesg.202404021122",
            f"dd of={DEB}/dump-incomplete",
            f"scp -t {DEB}/vmcore-incomplete",
            f"mv {DEB}/vmcore-incomplete {DEB}/vmcore.202404021122",
        ],
    ),
    "suse-kdumptool": (
        "OpenSSH_8.4",
        [
            f"mkdir -p {OLD}",
            f"dd of={OLD}/dmesg.txt-incomplete && mv {OLD}/dmesg.txt-incomplete {OLD}/dmesg.txt",
            f"dd of={OLD}/vmcore-incomplete && mv {OLD}/vmcore-incomplete {OLD}/vmcore",
        ],
    ),
    "suse-kdump-save": (
        "OpenSSH_9.6",
        [f"umask 077; mkdir -p {NEW} && cat > {NEW}/{name}" for name in ("README.txt", "dmesg", "vmcore")],
    ),
}


def _after(*observations: Observation) -> Family:
    family = Family.UNKNOWN
    for observation in observations:
        # What one connection knows reaches the next as text.
        family = Family.from_text(observe(family, observation).text)
    return family


@pytest.mark.parametrize("client", SAID)
def test_each_client_is_known_by_its_dump(client: str) -> None:
    """Its own ssh and its own commands, each on a new connection."""
    banner, lines = SAID[client]
    told = [one for line in lines for one in (Banner(banner), parse_untrusted(line))]
    assert _after(*told).label == client


@pytest.mark.parametrize("client", [client for client in SAID if client != "rhel5"])
def test_what_kdump_says_outweighs_its_ssh(client: str) -> None:
    """Any ssh may carry any kdump: the last word is the commands'. Only RHEL5 says nothing of its own."""
    told = [one for line in SAID[client][1] for one in (Banner(BANNER), parse_untrusted(line))]
    assert _after(*told).label == client


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("exit", Family.UNKNOWN),
        ("mkdir -p /var/crash", Family.UNKNOWN),
        ("mktemp -dqp /var/crash", RED_HAT),
        ("rmdir /var/crash/tmp.a", RED_HAT),
        ("df --output=avail /var/crash", Family.KDUMP_UTILS),
        ("df -P /var/crash", Family.RHEL7),
        ("df -P /var/crash/tmp.0123456789", Family.RHEL6 | Family.RHEL6_0),
        (f"mkdir {T}", Family.RHEL6 | Family.RHEL6_0 | Family.RHEL5),
        (f"mkdir -p {T}", Family.KDUMP_UTILS | Family.RHEL7),
        ("mkdir -p /var/crash/10.0.0.1-2013.04.02-11:22:33", Family.RHEL7),
        ("mkdir -p /var/crash/02.04.12-11:22:33", Family.RHEL7),
        ("mkdir -p /var/crash/kdump-test-1767225600-1", Family.KDUMP_UTILS),
        ("mkdir -p /var/crash/fe80::1-2024-04-02-11:22:33", Family.KDUMP_UTILS | Family.RHEL7),
        (f"mkdir -p {DEB}", Family.DEBIAN),
        ("mkdir -p /var/crash/web01.example.com-202404021122", Family.DEBIAN),
        (f"mkdir -p {OLD}", Family.SUSE_KDUMPTOOL),
        ("mkdir -p /dump/2012-06-02-11:22", Family.SUSE_KDUMPTOOL),
        ("dd of=/a/b", Family.RHEL6 | Family.DEBIAN),
        (f"dd of={T}/vmcore-dmesg-incomplete.txt", Family.RHEL6 | Family.RHEL7),
        ("mv '/a/vmcore-incomplete' '/a/vmcore'", Family.KDUMP_UTILS),
        ("echo fail kdump_test_id=1-2 > /a/kdump-test-1-2/vmcore-creation.status", Family.KDUMP_UTILS),
        ("scp -f /a/kdump-test-1-2/vmcore-creation.status", Family.KDUMP_UTILS),
    ],
)  # fmt: skip
def test_what_one_line_tells(line: str, left: Family) -> None:
    """Each sign alone, and how far it narrows."""
    assert observe(Family.UNKNOWN, parse_untrusted(line)) == left


@pytest.mark.parametrize(
    ("files", "version", "label"),
    [
        (["/var", "/var/crash", NEW, f"{NEW}/README.txt", f"{NEW}/vmcore"], 6, "suse-lftp"),
        ([OLD, f"{OLD}/dmesg.txt", f"{OLD}/vmcore"], 3, "suse-kdumptool"),
        (["/d/2012-06-02-11:22/vmcore", "/d/2012-06-02-11:22/rearrange.sh"], 3, "suse-kdumptool"),
        ([f"{T}/kexec-dmesg.log"], 3, "kdump-utils"),
        ([f"{DEB}/dmesg.202404021122"], 3, "debian"),
        (["/var/crash/vmcore"], 3, "unknown"),
    ],
)
def test_clients_that_speak_sftp_are_known_by_their_names(files: list[str], version: int, label: str) -> None:
    """The protocol's version tells lftp from the rest, the names tell the rest."""
    assert _after(*(SftpFile(path(file), version) for file in files)).label == label


def test_a_log_tells_rhel8_from_rhel7() -> None:
    """RHEL8.0 to 8.3 dump as RHEL7 does; RHEL8's log gives it away."""
    rhel7 = _after(*(parse_untrusted(line) for line in SAID["rhel7"][1]))
    assert rhel7.label == "rhel7"
    assert observe(rhel7, SftpFile(path(f"{T}/kexec-dmesg.log"), 3)).label == "kdump-utils"


def test_a_banner_never_unsays_a_command() -> None:
    """A later connection with another ssh changes nothing that was heard."""
    family = observe(Family.UNKNOWN, parse_untrusted(f"umask 0077 && dd bs=512 of='{T}/vmcore-incomplete'"))
    assert observe(family, Banner("OpenSSH_4.3")) == family
    assert observe(family, Banner("")) == family
    assert observe(Family.UNKNOWN, Banner("OpenSSH_4.3")).label == "rhel5"
    assert observe(Family.UNKNOWN, Banner("libssh2_1.4.3")).label == "suse-kdumptool"


@pytest.mark.parametrize("family", [*Family, Family.UNKNOWN, Family.RHEL6 | Family.RHEL7])
def test_what_is_known_survives_as_text(family: Family) -> None:
    """Connections meet only in files: the set is written and read back."""
    assert Family.from_text(family.text) == family


@pytest.mark.parametrize("text", ["", "unknown", "rhel99", "|"])
def test_text_of_another_version_is_unknown(text: str) -> None:
    """An older or newer manifest does no harm."""
    assert Family.from_text(text) is Family.UNKNOWN
    assert Family.from_text("rhel99|rhel7") is Family.RHEL7


OBSERVATIONS = st.one_of(
    st.builds(Banner, st.text(max_size=20) | st.sampled_from([banner for banner, _ in SAID.values()])),
    st.sampled_from([parse_untrusted(line) for _, lines in SAID.values() for line in lines]),
    st.builds(SftpFile, st.sampled_from([path(T), path(DEB), path(f"{NEW}/dmesg")]), st.integers(3, 6)),
)


@given(st.lists(OBSERVATIONS, max_size=12))
def test_no_order_of_words_leaves_nothing(observations: list[Observation]) -> None:
    """Contradictions are settled, never left as no client at all; hearing the same again changes nothing."""
    family = Family.UNKNOWN
    for observation in observations:
        family = observe(family, observation)
        assert family
        assert observe(family, observation) == family
