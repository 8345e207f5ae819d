"""Texts that a session's models have read and written, oldest first: what its placeholders are numbered by.

They are read from the journal, so each worker numbers alike, also after a crash. A sub-run continues the numbers of the
runs that it works for. Runs that work at the same time number what is new to each by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agent.loop.attached import Attaching, Given
from agent.run.history import History, Turn, dump, result_text
from agent.run.journal import PAGE, Journal, all_events
from flightloop.content import text_of
from flightloop.events import CallsDecided, Planned, Replied, RunEvent, ToolIntent, ToolResult
from flightloop.runs import Run


async def texts_before(journal: Journal, run: Run, attaching: Attaching) -> list[str]:
    """Texts of the session's earlier runs, and of the runs that a sub-run works for up to its own beginning."""
    callers = [caller.run_id for caller in run.parent.callers] if run.parent is not None else []
    above = [await journal.get(run.tenant_id, run_id) for run_id in callers]
    texts: list[str] = []
    for before in await _runs_before(journal, above[0] if above else run):
        texts += await _texts_of(journal, before, attaching)
        texts.append(text_of(before.output or []))
    for caller, called in zip(above, [*callers, run.id][1:], strict=True):
        texts += await _texts_of(journal, caller, attaching, called)
    return texts


def input_texts(given: Given) -> list[str]:
    return [*(text_of([part]) for part in given.content), *given.readings]


def turn_texts(turn: Turn, results: Iterable[ToolResult]) -> Iterator[str]:
    """Texts of a decision and of its calls' results, as they stand in prompts."""
    decision = turn.decision
    match decision:
        case Planned():
            yield dump({"goal": decision.goal, "tools": decision.tools})
        case Replied():
            yield decision.text
        case CallsDecided():
            yield from (decision.text, *(call.function.arguments for call in decision.calls), decision.problem or "")
    yield from map(result_text, results)


class TurnTexts:
    """Texts of one run's turns, as its history grows."""

    def __init__(self) -> None:
        self._turns = self._results = 0

    def follow(self, history: History) -> list[str]:
        """The texts that are new since the last call: of each turn, the decision and then results in their order."""
        new = history.turns[self._turns :]
        owners = {call.call.id for turn in new for call in turn.calls}
        late = [one for one in history.results[self._results :] if one.call_id not in owners]
        texts = [result_text(one) for one in late]  # of calls whose decision was known before
        for turn in new:
            own = {call.call.id for call in turn.calls}
            texts += turn_texts(turn, [one for one in history.results[self._results :] if one.call_id in own])
        self._turns, self._results = len(history.turns), len(history.results)
        return texts


async def _texts_of(journal: Journal, run: Run, attaching: Attaching, called: str | None = None) -> list[str]:
    events = await all_events(journal, run.tenant_id, run.id)
    history = History(run.id, events if called is None else _up_to(events, called))
    return [*input_texts(await attaching.given(run)), *TurnTexts().follow(history)]


def _up_to(events: Sequence[RunEvent], called: str) -> Iterator[RunEvent]:
    """Events until a sub-run was created. Results of other calls may have come later."""
    for event in events:
        yield event
        if isinstance(event, ToolIntent) and event.performed_by == called:
            return


async def _runs_before(journal: Journal, run: Run) -> list[Run]:
    """All root runs of the session that had ended when ``run`` first started, oldest first; of a fork, also those
    before its origin. Runs that were blocked count: their models had read something."""
    found: list[Run] = []
    after: str | None = run.id
    while after is not None:
        page = await journal.runs(run.tenant_id, session_id=run.session_id, roots=True, after=after, limit=PAGE)
        found += page.data
        after = page.data[-1].id if page.has_more and page.data else None
    found.reverse()
    first = found[0] if found else run
    if first.origin is not None:
        found = [*await _runs_before(journal, await journal.get(run.tenant_id, first.origin.run_id)), *found]
    return [before for before in found if had_ended(before, run)]


def had_ended(before: Run, run: Run) -> bool:
    """Whether an earlier run had ended when ``run`` first started. Of erased runs nothing is left."""
    if before.ended_at is None or before.erased_at is not None:
        return False
    return run.started_at is None or before.ended_at <= run.started_at
