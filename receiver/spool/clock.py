"""Wall-clock time as the manifest writes it."""

from __future__ import annotations

import datetime as dt


def iso(seconds: float) -> str:
    """Seconds of the epoch as UTC, ISO 8601, to the second."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
