"""A session's earlier runs, as far as a new run's model may know them."""

from __future__ import annotations

from agent.context import Conversation, Exchange
from agent.journal import Journal
from agent.kits import Kit
from flightloop.content import text_of
from flightloop.runs import Run, RunStatus
from flightloop.verdicts import Action, Stage
from guardrails.types import GuardContext, Subject

RUNS = 20
"""Earlier runs that are looked at; what does not fit the model is left out later."""


async def converse(journal: Journal, run: Run, kit: Kit, context_length: int | None) -> Conversation:
    """The conversation that a run continues."""
    earlier = await journal.runs(run.tenant_id, session_id=run.session_id, after=run.id, limit=RUNS)
    exchanges = [await _exchange(before, kit) for before in reversed(earlier.data) if _counts(before)]
    return Conversation(
        instructions=kit.agent.instructions.strip(),
        user=run.input,
        examples=kit.agent.examples,
        planning=kit.agent.planning,
        earlier=[exchange for exchange in exchanges if exchange is not None],
        context_length=context_length,
    )


def _counts(run: Run) -> bool:
    """A blocked input stays out: it must not reach the model by the next run."""
    return run.status.terminal and run.status is not RunStatus.BLOCKED


async def _exchange(run: Run, kit: Kit) -> Exchange | None:
    # The journal keeps what the user really sent; the model gets what today's policy makes of it.
    # These verdicts were journaled in the earlier run itself.
    context = GuardContext(run.tenant_id, run.agent, run.session_id, run.id)
    ruling = await kit.guard.check(Subject(Stage.INPUT, text_of(run.input), context))
    if ruling.action.severity >= Action.ASK.severity:
        return None
    return Exchange(user=ruling.text, answer=text_of(run.output or []))
