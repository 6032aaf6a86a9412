"""fence.waits: thousands of questions, each woken when its answer is yes, and none in the way of another."""

from __future__ import annotations

import pytest
import trio

from fence.events import Grade
from fence.node import Beat, Node, Rules
from fence.waits import AT_ONCE, Waits


def proven(name: str, *, signed: bool = False, rules: Rules | None = None) -> Node:
    node = Node(name, rules or Rules())
    node.heard(Beat(heard_from="192.0.2.10", signed_with="0a" if signed else None), 0, 0)
    return node


async def ask(waits: Waits, names: list[str], asked: Grade, woken: list[str], tag: str) -> None:
    with waits.wait(names, asked) as wait:
        await wait.wait()
        woken.append(tag)


@pytest.fixture
async def waits(nursery: trio.Nursery) -> Waits:
    made = Waits()
    nursery.start_soon(made.run)
    return made


async def test_only_who_asks_for_no_more_than_there_is_is_woken(waits: Waits, nursery: trio.Nursery) -> None:
    """Another node, a better grade, a stricter policy: they sleep on."""
    woken: list[str] = []
    for tag, names, asked in (
        ("n1", ["n1"], Grade.NONE),
        ("n1 or n2", ["n2", "n1"], Grade.UDP),
        ("n1 signed", ["n1"], Grade.SIGNED),
        ("n2", ["n2"], Grade.NONE),
    ):
        nursery.start_soon(ask, waits, names, asked, woken, tag)
    await trio.testing.wait_all_tasks_blocked()
    waits.ring(proven("n1", rules=Rules(off_grade=Grade.SIGNED)), 1)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    waits.ring(proven("n1"), 1)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(woken) == ["n1", "n1 or n2"]
    waits.ring(proven("n1", signed=True), 1)
    waits.ring(proven("n1"), 99)  # too old by now
    await trio.testing.wait_all_tasks_blocked()
    assert woken[2:] == ["n1 signed"]
    assert waits.open == 1
    waits.ring_all()
    await trio.testing.wait_all_tasks_blocked()
    assert waits.open == 0


async def test_thousands_that_wait_for_one_node_are_not_in_the_way_of_another(
    waits: Waits, nursery: trio.Nursery
) -> None:
    """The one question for n2 is answered before the last of n1's."""
    count, woken = AT_ONCE * 20, list[str]()
    for _ in range(count):
        nursery.start_soon(ask, waits, ["n1"], Grade.NONE, woken, "n1")
    nursery.start_soon(ask, waits, ["n2"], Grade.NONE, woken, "n2")
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(3):  # more datagrams wake nobody twice
        waits.ring(proven("n1"), 1)
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    waits.ring(proven("n2"), 1)
    await trio.testing.wait_all_tasks_blocked()
    assert len(woken) == count + 1
    assert woken.index("n2") < count / 2


async def test_who_is_gone_leaves_nothing(waits: Waits) -> None:
    """A client that went away while its turn was near."""
    woken: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE + 1):
            nursery.start_soon(ask, waits, ["n1"], Grade.NONE, woken, "n1")
        await trio.testing.wait_all_tasks_blocked()
        waits.ring(proven("n1"), 1)
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert (waits.open, woken) == (0, [])


async def test_a_wait_can_be_woken_again(waits: Waits, nursery: trio.Nursery) -> None:
    """Where the evidence was gone when its turn came."""
    turns: list[int] = []

    async def twice() -> None:
        with waits.wait(["n1"], Grade.NONE) as wait:
            for number in range(2):
                await wait.wait()
                turns.append(number)

    nursery.start_soon(twice)
    for number in range(2):
        await trio.testing.wait_all_tasks_blocked()
        assert len(turns) == number
        waits.ring(proven("n1"), 1)
    await trio.testing.wait_all_tasks_blocked()
    assert turns == [0, 1]
