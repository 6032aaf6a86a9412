"""The one error that reading a dump's bytes may raise."""

from __future__ import annotations


class Malformed(Exception):
    """The bytes contradict the format they claim to be; the text says where and how."""


class TooLarge(Malformed):
    """The bytes describe a dump beyond the largest that is taken (``max_dump_bytes``)."""
