"""A session's earlier runs, as far as a new run's model may know them."""

from __future__ import annotations

from agent.loop.agent_runtime import Kit
from agent.loop.context import Conversation, Exchange
from agent.run.journal import Journal
from flightloop.content import text_of
from flightloop.runs import Run, RunStatus
from flightloop.verdicts import Action, Stage
from guardrails.types import Checked, GuardContext

RUNS = 20
"""Earlier runs that are looked at; what does not fit the model is left out later."""


async def converse(journal: Journal, run: Run, kit: Kit, context_length: int | None) -> Conversation:
    """The conversation that a run continues; one that works for another run has its task alone."""
    exchanges = [await _exchange(before, kit) for before in await earlier(journal, run)]
    return Conversation(
        instructions=kit.agent.instructions.strip(),
        user=run.input,
        examples=kit.agent.examples,
        planning=kit.agent.planning,
        earlier=[exchange for exchange in exchanges if exchange is not None],
        context_length=context_length,
    )


async def earlier(journal: Journal, run: Run) -> list[Run]:
    """The session's runs before this one that its model may know of, oldest first."""
    if run.parent is not None:
        return []
    return [before for before in await _earlier(journal, run) if _counts(before, run)]


async def _earlier(journal: Journal, run: Run) -> list[Run]:
    """The session's runs before this one, oldest first; what a fork begins with comes after those of its origin."""
    page = await journal.runs(run.tenant_id, session_id=run.session_id, roots=True, after=run.id, limit=RUNS)
    found = page.data[::-1]
    first = found[0] if found else run
    if first.origin is not None and not page.has_more:
        found = [*await _earlier(journal, await journal.get(run.tenant_id, first.origin.run_id)), *found]
    return found[-RUNS:]


def _counts(before: Run, run: Run) -> bool:
    """Whoever works on a run finds the same ones: those that had ended when it began.

    A blocked input stays out: it must not reach the model by the next run.
    """
    if before.ended_at is None or before.status is RunStatus.BLOCKED:
        return False
    return run.started_at is None or before.ended_at <= run.started_at


async def _exchange(run: Run, kit: Kit) -> Exchange | None:
    # The journal keeps what the user really sent; the model gets what today's policy makes of it.
    # These verdicts were journaled in the earlier run itself.
    context = GuardContext(run.tenant_id, run.agent, run.session_id, run.id)
    ruling = await kit.guard.check(Checked(Stage.INPUT, text_of(run.input), context))
    if ruling.action.severity >= Action.ASK.severity:
        return None
    return Exchange(ruling.text, text_of(run.output or []), run.id)
