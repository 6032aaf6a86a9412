from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    name: str
    host: str
    how: str
    peer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Denied:
    reason: str


def normalised_peer(a: str) -> str:
    return a
