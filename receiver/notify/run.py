"""The notifier: a task for each target, so that one that hangs delays no other."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final

import sqlalchemy as sa

from receiver.catalogue.store import Catalogue
from receiver.events import Event, Trouble
from receiver.notify import fence, message, pace
from receiver.notify.deliver import Deliver, Failed, client, open_target
from receiver.notify.message import Message
from receiver.notify.outbox import Outbox
from receiver.notify.pace import Limits, Send, Wait
from receiver.notify.turn import Turn
from receiver.settings import Settings
from receiver.spool.dumps import Spool
from receiver.targets import Fence, Target

LOOK_SECONDS: Final = 1.0  # between two looks into the journal
TURN_SECONDS: Final = 5.0  # between two looks whether it is our turn
AGAIN_SECONDS: Final = 5.0  # after the database failed
BOUND_SECONDS: Final = 30.0  # between two looks for what waited too long
SOURCE: Final = f"/kdump-receiver/{socket.gethostname()}"


async def run(settings: Settings, catalogue: Catalogue, spool: Spool, tell: Callable[[Event], None]) -> None:
    """Tell every target of the settings, until cancelled; `tell` hears of troubles of our own.

    Of several processes on one catalogue one sends; evidence of what comes in here is sent by each.
    """
    async with asyncio.TaskGroup() as tasks:
        for target in settings.notify:
            if isinstance(target, Fence):
                tasks.create_task(fence.beat(target, spool))
        if settings.notify:
            tasks.create_task(_in_turn(settings, catalogue, tell))


async def _in_turn(settings: Settings, catalogue: Catalogue, tell: Callable[[Event], None]) -> None:
    turn = Turn(catalogue, settings.state)
    senders: asyncio.Task[None] | None = None
    try:
        while True:
            ours = False
            with contextlib.suppress(sa.exc.SQLAlchemyError, OSError):
                ours = await asyncio.to_thread(turn.take)
            if ours and senders is None:
                senders = asyncio.create_task(_all(settings, catalogue, tell))
            elif not ours and senders is not None:
                await _stop(senders)
                senders = None
            await asyncio.sleep(TURN_SECONDS)
    finally:
        if senders is not None:
            await _stop(senders)
        turn.close()


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _all(settings: Settings, catalogue: Catalogue, tell: Callable[[Event], None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for target in settings.notify:
            tasks.create_task(Sender(target, Outbox(catalogue), tell).run())


class Sender:
    """One target's journal place, outbox and pace."""

    def __init__(self, target: Target, outbox: Outbox, tell: Callable[[Event], None]) -> None:
        self._target = target
        self._outbox = outbox
        self._tell = tell
        self._troubled = False
        self._bound_at = 0.0
        self._limits = (
            Limits(0, 0) if isinstance(target, Fence) else Limits(target.burst, target.period_seconds)
        )

    async def run(self) -> None:
        """Until cancelled; whatever goes wrong is told once, and tried again."""
        while True:
            try:
                await asyncio.to_thread(self._outbox.begin, self._target.name)
                async with AsyncExitStack() as stack:
                    deliver = await stack.enter_async_context(opened(self._target))
                    while True:
                        pause = await self.step(deliver)
                        self._troubled = False
                        await asyncio.sleep(pause)
            except (sa.exc.SQLAlchemyError, Failed, OSError) as error:
                if not self._troubled:
                    self._troubled = True
                    self._tell(Trouble(f"notify {self._target.name}", str(error).splitlines()[0][:300]))
            except Exception as error:  # a defect of ours must not end the other targets' tasks
                self._tell(Trouble(f"notify {self._target.name}", repr(error)[:300]))
            await asyncio.sleep(AGAIN_SECONDS)

    async def step(self, deliver: Deliver) -> float:
        """Read on in the journal, and send what is due; the seconds until there may be more to do."""
        now = time.time()
        read = await asyncio.to_thread(self._outbox.collect, self._target, now)
        if read or now >= self._bound_at:
            self._bound_at = now + BOUND_SECONDS
            await asyncio.to_thread(self._outbox.bound, self._target, now)
        state = await asyncio.to_thread(self._outbox.pace, self._target.name)
        waiting = await asyncio.to_thread(self._outbox.waiting, self._target.name)
        match pace.decide(state, self._limits, waiting, now):
            case Wait(until):
                pause = LOOK_SECONDS if until is None else min(LOOK_SECONDS, until - now)
                return 0.0 if read else max(0.01, pause)
            case Send() as send:
                await self._send(deliver, send, state)
                return 0.0

    async def _send(self, deliver: Deliver, send: Send, state: pace.Pace) -> None:
        name = self._target.name
        entries = await asyncio.to_thread(self._outbox.entries, send.rows)
        told = message.digest(entries, SOURCE) if send.digest else message.of_entry(entries[0], SOURCE)
        try:
            await deliver(told)
        except Failed as error:
            luck, now = random.random(), time.time()  # noqa: S311 -- spreads tries, guards nothing
            if error.refused:
                again = now + pace.backoff(send.attempts + 1, luck)
                await asyncio.to_thread(self._outbox.refused, name, send.rows, again, str(error), now)
            else:
                after = pace.failed(state, send, now, luck, error.asked_seconds)
                await asyncio.to_thread(self._outbox.down, name, after, str(error))
        else:
            now = time.time()
            after = pace.sent(state, self._limits, send, now)
            await asyncio.to_thread(self._outbox.delivered, name, send.rows, after, now)


@contextlib.asynccontextmanager
async def opened(target: Target) -> AsyncIterator[Deliver]:
    """A way to tell a target of any kind."""
    if isinstance(target, Fence):
        async with client(target) as http:

            async def end(told: Message) -> None:
                await fence.end(http, target, told)

            yield end
    else:
        async with open_target(target) as deliver:
            yield deliver
