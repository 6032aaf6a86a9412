"""sha256 of what came over the wire, computed while the same bytes are written to the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

BESIDE: Final = 256 << 10  # bytes from which another thread pays
_threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="hash")  # starts none before the first use


class WireHash:
    """Of one upload. Not thread-safe: one call at a time."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    @contextmanager
    def taking(self, data: bytes | memoryview) -> Iterator[None]:
        """Hash `data` while the body does something else with it; both are done at the end."""
        if len(data) < BESIDE:
            self._sha256.update(data)
            yield
            return
        hashed = _threads.submit(self._sha256.update, data)
        try:
            yield
        finally:
            hashed.result()

    def hexdigest(self) -> str:
        """Of all bytes so far."""
        return self._sha256.hexdigest()
