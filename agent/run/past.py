"""Writes of other runs in a run's session, and the user's latest input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.run.history import History, Turn, dump, result_text
from agent.run.journal import Journal, all_events
from agent.run.written import DOUBT
from flightloop.content import TablePart, text_of
from flightloop.runs import Run
from flightloop.tool import Effect
from guardrails.types import Past, Write

WRITES = 500
"""Maximum number of writes that are read from a session and its forks, newest first."""
ORIGINS = 16
"""Maximum number of runs in a fork's line (``_lineage``). Repeating an older ancestor's write still needs approval."""
Writes = Callable[[str], bool]
"""Whether the tool of this name changes something."""


async def read_past(
    journal: Journal, run: Run, asked: str, args_sha256: str | None = None, tool: str | None = None
) -> Past:
    """Reads the writes of other runs in a run's session. Raises StoreUnavailable.

    Args:
        asked: the run's input; for a sub-run the input of the root run is used instead.
        args_sha256: only writes with this hash.
        tool: only writes of this tool.
    """
    if run.parent is not None:
        given = (await journal.get(run.tenant_id, _root_id(run))).input
        asked = text_of([part for part in given if not isinstance(part, TablePart)])
    others: list[Write] = []
    family: list[Write] = []
    delegated: list[Write] = []
    denied: list[Write] = []
    found = await journal.writes(run, args_sha256, tool, WRITES)
    cut = len(found) == WRITES
    line = await _lineage(journal, run) if any(one.kin for one in found) else {run.id}
    for one in (one for one in reversed(found) if one.tool != DOUBT):
        first = (*one.callers, one.run_id)[0]
        write = Write(one.tool, one.arguments, one.ok, one.told, first, one.uncertain, one.args_sha256, one.unsure)
        if one.denied:
            if first == _root_id(run):
                denied.append(write)
        elif not line.isdisjoint((one.run_id, *one.callers)):
            delegated.append(write)
        else:
            others.append(write)
            if one.kin:
                family.append(write)
    return Past(
        writes=tuple(others),
        family=tuple(family),
        delegated=tuple(delegated),
        denied=tuple(denied),
        asked=asked,
        cut=cut,
    )


def writes_of(turns: Iterable[Turn], writes: Writes) -> list[Write]:
    """Calls that change something and have a result, in order."""
    return [
        Write(
            state.call.function.name,
            arguments,
            state.result.ok,
            result_text(state.result),
            uncertain=state.result.uncertain,
            known_by=state.intent.args_sha256 if state.intent is not None else None,
            unsure=state.intent is not None and state.intent.unsure,
        )
        for turn in turns
        for state in turn.calls
        if state.result is not None and writes(state.call.function.name)
        if (arguments := state.arguments) is not None
    ]


@dataclass(frozen=True)
class SubRun:
    """What a run has to know of a run that worked for it."""

    tainted: bool
    wrote: list[str]
    """Calls that may have changed something, also those of its own sub-runs: their tools and arguments as text."""


async def sub_run(journal: Journal, tenant_id: str, run_id: str) -> SubRun:
    history = History(run_id, await all_events(journal, tenant_id, run_id))
    unreported = await unreported_writes(journal, tenant_id, history)
    wrote = [*_wrote(history), *(text for texts in unreported.values() for text in texts)]
    return SubRun(history.tainted, wrote)


async def unreported_writes(
    journal: Journal, tenant_id: str, history: History, besides: frozenset[str] = frozenset()
) -> dict[str, list[str]]:
    """What sub-runs wrote whose results the run has not recorded, for instance because it ended before, by call id.

    Args:
        besides: ids of sub-runs to leave out.
    """
    found: dict[str, list[str]] = {}
    for state in (state for turn in history.turns for state in turn.calls):
        performed_by = state.intent.performed_by if state.intent is not None and state.result is None else None
        if performed_by is not None and performed_by not in besides:
            found[state.call.id] = (await sub_run(journal, tenant_id, performed_by)).wrote
    return found


def _wrote(history: History) -> list[str]:
    calls = [state for turn in history.turns for state in turn.calls]
    own = [one.intent for one in calls if one.intent is not None and one.intent.performed_by is None]
    told = [f"{intent.tool} {dump(intent.arguments)}" for intent in own if intent.effect != Effect.PURE]
    return [*told, *(text for result in history.results for text in result.wrote)]


def _root_id(run: Run) -> str:
    """Id of the root run, which a user requested."""
    return run.parent.callers[0].run_id if run.parent is not None else run.id


async def _lineage(journal: Journal, run: Run) -> set[str]:
    """Ids of the run and its fork ancestors, whose work it continues."""
    line = {run.id}
    while run.origin is not None and len(line) < ORIGINS:
        run = await journal.get(run.tenant_id, run.origin.run_id)
        line.add(run.id)
    return line
