"""What a run's session holds beside the run: the writes of its other runs, and the user's latest words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.history import History, Turn, result_text
from agent.journal import Journal, all_events
from flightloop.content import text_of
from flightloop.runs import Run
from guardrails.types import Past, Write

RUNS = 20
"""The session's newest runs, as many as a conversation goes back."""
Writes = Callable[[str], bool]
"""Whether a tool of this name changes something."""


async def read_past(journal: Journal, run: Run, asked: str, writes: Writes) -> Past:
    """Raises StoreUnavailable.

    Args:
        asked: the run's input; of a run that works for another one, its first caller's input counts.
        writes: of the project's tools.
    """
    if run.parent is not None:
        asked = text_of((await journal.get(run.tenant_id, run.parent.callers[0].run_id)).input)
    found = await journal.runs(run.tenant_id, session_id=run.session_id, limit=RUNS)
    others: list[Write] = []
    delegated: list[Write] = []
    for other in reversed(found.data):
        if other.id != run.id and other.usage.tool_calls:
            history = History(other.id, await all_events(journal, run.tenant_id, other.id))
            (delegated if _works_for(other, run) else others).extend(writes_of(history.turns, writes))
    return Past(writes=tuple(others), delegated=tuple(delegated), asked=asked)


def writes_of(turns: Iterable[Turn], writes: Writes) -> list[Write]:
    """Calls that change something and have a result, in order."""
    return [
        Write(state.call.function.name, arguments, state.result.ok, result_text(state.result))
        for turn in turns
        for state in turn.calls
        if state.result is not None and writes(state.call.function.name)
        if (arguments := state.arguments) is not None
    ]


def _works_for(other: Run, run: Run) -> bool:
    return other.parent is not None and any(caller.run_id == run.id for caller in other.parent.callers)
