"""What kdump-fence says of its nodes (docs/fence-api.md, GET /v1/nodes), read from the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

NODES_MAX: Final = 20_000
TEXT_MAX: Final = 300  # characters of any one word
ANSWER_MAX: Final = 32 << 20  # bytes
MEANING: Final = {
    "quiet": "nothing heard: no crash",
    "dumping": "its capture kernel runs and sends a dump",
    "saved": "its dump is stored",
    "failed": "its dump failed",
    "silent": "it was dumping and is not heard any more",
}


class NotNodes(ValueError):
    """These bytes are no answer of kdump-fence."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `off` is what a cluster manager would hear; `progress` is 0 to 1."""

    name: str
    addresses: tuple[str, ...]
    state: str
    since: str
    off: bool
    grade: str
    reason: str
    progress: float | None

    @property
    def meaning(self) -> str:
        """The state in a sentence."""
        return MEANING.get(self.state, "")


@dataclass(frozen=True, slots=True)
class Fence:
    """The answer; `trouble` says why there is none, in a calm sentence. None of both: no fence is set."""

    nodes: tuple[Node, ...] = ()
    trouble: str = ""

    def of(self, host: str, peers: Iterable[str] = ()) -> Node | None:
        """The node that is this host: by name, else by an address it came from."""
        found = next((node for node in self.nodes if node.name == host), None)
        known = set(peers)
        return found or next((node for node in self.nodes if known & set(node.addresses)), None)


def nodes_untrusted(data: bytes) -> tuple[Node, ...]:
    """Read the body of the answer.

    Raises:
        NotNodes: not JSON, not of that shape, or more than NODES_MAX nodes.
    """
    try:
        nodes = json.loads(data)["nodes"]
        if not isinstance(nodes, list) or len(nodes) > NODES_MAX:
            raise NotNodes("no list of nodes, or too long a one")
        return tuple(_node(each) for each in nodes)
    except NotNodes:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotNodes(f"not the nodes of a kdump-fence: {error!r:.200}") from None


def _node(found: Any) -> Node:
    return Node(
        name=_text(found["name"]),
        addresses=tuple(_text(address) for address in found.get("addresses", ())[:64]),
        state=_text(found["state"]),
        since=_text(found.get("since", "")),
        off=found.get("off") is True,
        grade=_text(found.get("grade", "")),
        reason=_text(found.get("reason", "")),
        progress=_progress(found.get("progress")),
    )


def _progress(found: Any) -> float | None:
    if not isinstance(found, dict):
        return None
    done, total = found.get("done_bytes"), found.get("total_bytes")
    if not isinstance(done, int) or not isinstance(total, int) or total <= 0:
        return None
    return min(1.0, max(0.0, done / total))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotNodes(f"{value!r:.60} is no text")
    return value[:TEXT_MAX]
