"""How each kind of target is told: the shells that touch network and processes."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from receiver.notify import message as messages
from receiver.notify.message import Message
from receiver.targets import Apprise, Fence, Program, Webhook

AGAIN: Final = frozenset({401, 403, 404, 408, 425, 429})  # of 4xx: the target's state, not the event's fault
SAID_MAX: Final = 4096  # bytes of what a program says that are kept
TERM_SECONDS: Final = 2.0  # between SIGTERM and SIGKILL of a program that takes too long

Deliver = Callable[[Message], Awaitable[None]]


class Failed(Exception):
    """It did not arrive. `refused`: the target is there and does not want this one."""

    def __init__(self, reason: str, *, refused: bool = False, asked_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.refused = refused
        self.asked_seconds = asked_seconds  # that the target said to wait


@asynccontextmanager
async def open_target(target: Webhook | Apprise | Program) -> AsyncIterator[Deliver]:
    """A way to tell `target`; it raises Failed."""
    match target:
        case Webhook():
            async with client(target) as opened:
                yield lambda message: _post(opened, target, message)
        case Program():
            yield lambda message: _run(target.argv, message.body, target.timeout_seconds)
        case Apprise():
            yield lambda message: _apprise(target, message)


@asynccontextmanager
async def client(target: Webhook | Fence) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP to `target`, connections kept open. Raises Failed: the CA cannot be read."""
    verify: ssl.SSLContext | bool = True
    try:
        if target.ca is not None:
            verify = ssl.create_default_context(cafile=str(target.ca))
    except (OSError, ssl.SSLError) as error:
        raise Failed(f"{target.ca}: {error}") from None
    socket = target.socket if isinstance(target, Fence) else None
    transport = httpx.AsyncHTTPTransport(uds=str(socket)) if socket else None
    async with httpx.AsyncClient(
        verify=verify, transport=transport, follow_redirects=False, timeout=target.timeout_seconds
    ) as opened:
        yield opened


async def post(
    opened: httpx.AsyncClient, target: Webhook | Fence, url: str, body: bytes, headers: dict[str, str]
) -> int:
    """POST within the target's time; the status, which is good or a refusal. Raises Failed."""
    try:
        # httpx counts its time from byte to byte: a server that drips would have us wait for ever.
        async with asyncio.timeout(target.timeout_seconds):
            headers = headers | _authorization(target.token_file)
            async with opened.stream("POST", url, content=body, headers=headers) as answer:
                pass  # what it says in the body is not read: it may be without end
    except TimeoutError:
        raise Failed(f"no answer within {target.timeout_seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Failed(f"{type(error).__name__}: {error}"[:500]) from None
    status = answer.status_code
    if 400 <= status < 500 and status not in AGAIN:
        raise Failed(f"answered {status}", refused=True)
    if not answer.is_success and not (status == 404 and isinstance(target, Fence)):
        raise Failed(f"answered {status}", asked_seconds=_asked(answer.headers.get("retry-after")))
    return status


async def _post(opened: httpx.AsyncClient, target: Webhook, message: Message) -> None:
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    signed = messages.signature(secrets_of(target), message.id, int(time.time()), message.body)
    await post(opened, target, target.url, message.body, headers | signed)


def secrets_of(target: Webhook) -> list[bytes]:
    """Read anew each time: they get renewed. Raises Failed."""
    found = [_secret(str(path), _text(path)) for path in target.secret_files]
    for name in target.secret_env:
        if name not in os.environ:
            raise Failed(f"the environment has no {name}")
        found.append(_secret(name, os.environ[name]))
    return found


def _secret(where: str, text: str) -> bytes:
    try:
        return messages.secret_of(text)
    except ValueError as error:
        raise Failed(f"{where}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _authorization(token_file: Path | None) -> dict[str, str]:
    return {"authorization": f"Bearer {_text(token_file)}"} if token_file else {}


def _asked(header: str | None) -> float:
    """Retry-After in seconds, or as a date (RFC 9110, 10.2.3)."""
    if header is None:
        return 0.0
    if header.isdecimal():
        return float(header[:6])
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return 0.0


async def _apprise(target: Apprise, message: Message) -> None:
    """In a process of its own: a mail server that hangs is killed with it, and the URLs stand in no argv."""
    urls = [url.get_secret_value() for url in target.urls]
    if target.urls_file is not None:
        lines = map(str.strip, _text(target.urls_file).splitlines())
        urls += [line for line in lines if line and not line.startswith("#")]
    document: dict[str, Any] = {"urls": urls, "title": message.title, "body": message.text}
    argv = [sys.executable, "-m", "receiver.notify.apprise_child"]
    await _run(argv, json.dumps(document).encode(), target.timeout_seconds)


async def _run(argv: Sequence[str], stdin: bytes, seconds: float) -> None:
    """Run a program; it and all it started are gone afterwards. Raises Failed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"{argv[0]}: {error.strerror}") from None
    said = bytearray()
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(_feed(process, stdin), _hear(process, said))
            status = await process.wait()
    except TimeoutError:
        raise Failed(f"{argv[0]}: took longer than {seconds:g} s") from None
    finally:
        await _end(process)
    if status != 0:
        last = bytes(said).decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Failed(": ".join([f"{argv[0]}: exit status {status}", *last])[:500])


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read it
            process.stdin.write(data)
            await process.stdin.drain()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.close()
            await process.stdin.wait_closed()


async def _hear(process: asyncio.subprocess.Process, said: bytearray) -> None:
    """Until the program (not what it left in the background) ends; the end of what it said is kept."""
    if process.stdout is None:
        return
    ended = asyncio.ensure_future(process.wait())
    try:
        while True:
            heard = asyncio.ensure_future(process.stdout.read(SAID_MAX))
            await asyncio.wait([heard, ended], return_when=asyncio.FIRST_COMPLETED)
            if not heard.done():
                heard.cancel()
                return
            if not heard.result():
                return
            said += heard.result()
            del said[:-SAID_MAX]
    finally:
        ended.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM to the process group, then SIGKILL."""
    for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, TERM_SECONDS)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)
            if number == signal.SIGKILL:
                return
