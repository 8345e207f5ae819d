"""The decoder of server-sent events."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from flightloop.sse import ServerEvent, SSEDecoder

STREAM = 'id: 1\nevent: plan\ndata: {"text":"a\u2028b\x85c"}\n\n: ping\n\r\ndata: x\rdata: é\r\rid: 3\ndata: y\r\n\r\n'
EVENTS = [
    ServerEvent('{"text":"a\u2028b\x85c"}', "plan", "1"),
    ServerEvent("x\né"),
    ServerEvent("y", "message", "3"),
]


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    data = STREAM.encode()
    edges = [0, *sorted(cuts), len(data)]
    decoder = SSEDecoder()
    found = [event for start, end in itertools.pairwise(edges) for event in decoder.push(data[start:end])]
    assert found == EVENTS


def test_an_unfinished_event_is_not_told() -> None:
    assert list(SSEDecoder().push(b"data: half\n")) == []
