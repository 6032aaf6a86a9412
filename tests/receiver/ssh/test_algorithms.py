"""What a client ends on: AES-GCM wherever it knows it, its own order otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from receiver.ssh.algorithms import LEGACY, names_ctr_first, offered
from tests.rig.door import open_door

OURS = [name.encode() for name in LEGACY.encryption]


@pytest.mark.parametrize(
    ("version", "late"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", True),
        (b"SSH-2.0-OpenSSH_7.4", True),
        (b"SSH-2.0-OpenSSH_6.2", True),
        (b"SSH-2.0-OpenSSH_6.1", False),
        (b"SSH-2.0-OpenSSH_4.3", False),
        (b"SSH-2.0-OpenSSH_10.0p2 Debian-7", False),
        (b"SSH-2.0-OpenSSH_for_Windows_9.5", False),
        (b"SSH-2.0-OpenSSH_99999999999999999999.1", False),
        (b"SSH-2.0-dropbear_2022.83", False),
        (b"", False),
    ],
)
def test_which_clients_are_heard_first(version: bytes, late: bool) -> None:
    assert names_ctr_first(version) is late


def test_gcm_alone_where_it_is_known() -> None:
    client = [b"chacha20-poly1305@openssh.com", b"aes128-ctr", b"aes256-ctr", b"aes128-gcm@openssh.com"]
    assert offered(OURS, client) == [b"aes256-gcm@openssh.com", b"aes128-gcm@openssh.com"]
    assert offered(OURS, client[:3]) == OURS
    assert offered(OURS, []) == OURS


@pytest.mark.parametrize(
    ("version", "theirs", "ends"),
    [
        ("OpenSSH_9.2p1", ["aes128-ctr", "aes256-gcm@openssh.com"], "aes256-gcm@openssh.com"),
        ("OpenSSH_9.2p1", ["aes128-ctr", "aes256-ctr"], "aes128-ctr"),
        ("AsyncSSH", ["aes128-ctr", "aes256-gcm@openssh.com"], "aes128-ctr"),
    ],
)
async def test_what_is_spoken(tmp_path: Path, version: str, theirs: list[str], ends: str) -> None:
    """An OpenSSH told to speak AES-CTR alone still gets in."""
    async with (
        open_door(tmp_path) as door,
        door.connect(client_version=version, encryption_algs=theirs) as client,
    ):
        assert client.get_extra_info("recv_cipher") == ends
        assert client.get_extra_info("send_cipher") == ends
        assert (await client.run("exit")).exit_status == 0


async def test_a_client_that_waits_for_the_server_is_not_left_waiting(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"SSH-2.0-OpenSSH_7.4\r\n")
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        packet = await asyncio.wait_for(reader.readexactly(600), 10)
        assert packet[5] == asyncssh.constants.MSG_KEXINIT
        assert b"aes128-ctr" in packet
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_goes_while_its_list_is_awaited(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"SSH-2.0-OpenSSH_7.4\r\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()
        async with door.connect() as client:
            await asyncio.sleep(2.1)
            assert (await client.run("exit")).exit_status == 0
