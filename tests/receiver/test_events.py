"""Log lines: one event, one line, whatever a client calls itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.events import FIELD_MAX, Bus, CommandRefused, Event, Listening, line


@given(st.text(max_size=2 * FIELD_MAX))
def test_a_line_stays_a_line(text: str) -> None:
    """Nothing that a client says breaks it, colours it, or forges a second field."""
    shown = line(CommandRefused(host="web01", peer="192.0.2.7", command=text, reason="no"))
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1
    assert shown.startswith("command.refused host=web01 peer=192.0.2.7 command=")
    assert shown.endswith(" reason=no")
    assert len(shown) <= 8 * FIELD_MAX


def test_plain_values_are_plain_and_others_quoted() -> None:
    assert line(Listening(ssh="[::]:2222")) == 'listening ssh=[::]:2222 web=""'
    refused = CommandRefused(host="a", peer="b", command='say "x"\n', reason="")
    assert line(refused) == 'command.refused host=a peer=b command="say \\"x\\"\\u000a" reason=""'


def test_every_subscriber_hears_everything_in_order() -> None:
    heard: list[tuple[int, Event]] = []
    bus = Bus()
    bus.subscribe(lambda event: heard.append((1, event)))
    bus.subscribe(lambda event: heard.append((2, event)))
    event = Listening(ssh="x")
    bus.tell(event)
    assert heard == [(1, event), (2, event)]
