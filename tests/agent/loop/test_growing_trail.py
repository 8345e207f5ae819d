"""A trail that grows with its history is the trail of the whole history, and knows what sub-agents wrote."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.loop.trail import GrowingTrail
from agent.run.history import History
from flightloop.chat import FunctionCall, ToolCall
from flightloop.events import CallsDecided, ModelCall, RunEvent, ToolResult
from flightloop.tool import tool, tool_of
from guardrails.types import Trail
from tools.registry import Registry


@tool(effect="pure", returns_untrusted=True, trusted_fields=("line",))
def book() -> list:
    """Reads the book."""
    return []


TOOLS = Registry([one for one in [tool_of(book)] if one is not None])


@st.composite
def runs(draw: st.DrawFn) -> list[RunEvent]:
    """Decisions of some calls each, whose results come in any order before the next decision."""
    events: list[RunEvent] = []
    for step in range(1, draw(st.integers(1, 4)) + 1):
        names = draw(st.lists(st.sampled_from(["book", "ask_clerk"]), min_size=1, max_size=3))
        calls = [
            ToolCall(id=f"{step}.{at}", function=FunctionCall(name=name, arguments="{}"))
            for at, name in enumerate(names)
        ]
        events.append(CallsDecided(step=step, calls=calls, text="", model=ModelCall(model="m")))
        for call in draw(st.permutations(calls)):
            wrote = draw(st.lists(st.sampled_from(["save 1", "save 2"]), max_size=2))
            asked = call.function.name == "ask_clerk"
            content = draw(st.sampled_from([[{"line": "1"}], "done"]))
            result = ToolResult(call_id=call.id, tool=call.function.name, ok=True, content=content, step=step)
            events.append(result.model_copy(update={"wrote": wrote if asked else []}))
    return events


def grown(events: Sequence[RunEvent], pieces: Sequence[int]) -> Trail:
    history, trail = History("run"), GrowingTrail(TOOLS, Trail())
    for at, event in enumerate(events):
        history.add(event)
        if at in pieces:
            trail.follow(history)
    return trail.follow(history)


@given(events=runs(), pieces=st.lists(st.integers(0, 20)))
def test_it_grows_to_the_trail_of_the_whole(events: list[RunEvent], pieces: list[int]) -> None:
    assert grown(events, pieces) == grown(events, [])


@given(events=runs())
def test_what_a_sub_agent_wrote_precedes_all_that_is_read_beside_and_after_it(events: list[RunEvent]) -> None:
    history = History("run", events)
    trail = GrowingTrail(TOOLS, Trail()).follow(history)
    at = {call_id: place for place, call_id in enumerate(one.call.id for turn in history.turns for one in turn.calls)}
    for result in history.results:
        for text in result.wrote:
            place = next(index for index, written in enumerate(trail.written) if text in written.splitlines())
            assert place <= at[result.call_id]
            assert text in trail.written[at[result.call_id]].splitlines()
            later = [read for read in trail.reads if (read.step or 0) >= result.step]
            assert all(read.before > at[result.call_id] for read in later)
