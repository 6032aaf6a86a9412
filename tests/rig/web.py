"""A receiver with its web, and who asks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from tests.rig.receiver import Client, Receiver

TIMEOUT = 60.0


def login(receiver: Receiver, role: str, *arguments: str) -> str:
    """A fresh login token."""
    made = receiver.cli("login", "create", "--role", role, "--name", f"a-{role}", "--json", *arguments)
    token: str = json.loads(made.stdout)["token"]
    return token


def ask(receiver: Receiver, token: str = "", **options: Any) -> httpx.Client:
    """A client of its web; a program that says nothing of itself, unless `token` says who it is."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=receiver.ready["web"],
        headers=headers,
        timeout=TIMEOUT,
        verify=False,
        trust_env=False,
        **options,
    )


def send(client: Client, stream: Path, directory: str = "/var/crash/h-1") -> None:
    """A dump, as kdump-utils sends it."""
    client.ssh(f"umask 0077 && dd bs=512 of='{directory}/vmcore-incomplete'", stdin=stream)
    client.ssh(f"mv '{directory}/vmcore-incomplete' '{directory}/vmcore.flat'")
