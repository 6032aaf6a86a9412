"""What every test shares: which event loop it runs on, and where the real dumps lie."""

from __future__ import annotations

import inspect
import signal
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"

# Tests that a shell starts in the background ignore Ctrl-C, and so would the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says what else the machine does, not whether the claim holds.
settings.register_profile("kdump-net", deadline=None)
settings.load_profile("kdump-net")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Mark coroutine tests: ``trio`` under tests/fence, ``asyncio`` elsewhere.

    Both plugins are in strict mode, and a mark added at collection time comes
    too late for them: it has to be on the function before it becomes an item.
    """
    if not name.startswith("test"):
        return
    function = inspect.unwrap(obj) if callable(obj) else obj
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if inspect.iscoroutinefunction(inner):
        trio_test = (HERE / "fence") in collector.path.parents
        (pytest.mark.trio if trio_test else pytest.mark.asyncio)(obj)


@pytest.fixture(scope="session")
def data() -> Path:
    """tests/data: what the checkout itself carries."""
    return HERE / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared, the larger collection of real dumps and logs; tests that need it say so where it is not."""
    if not (SHARED / "vmcores").is_dir():
        pytest.skip(f"{SHARED} is not here: the wider collection of real dumps was not tested")
    return SHARED
