"""Commands that an owner or operator can give to a run: cancel, interrupt, resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.run.budgets import TenantBudgets, used, used_up
from agent.run.journal import Journal
from agent.run.state import RESUMABLE, check_resume, tags_of
from flightloop.acts import Actor
from flightloop.errors import Conflict
from flightloop.events import CancelRequested, RunEnded, RunEvent, RunResumed
from flightloop.runs import Budget, Run, RunStatus, StopReason
from guardrails.interrupt import matches

ATTEMPTS = 5
BOUNDS = {
    StopReason.BUDGET_STEPS: "steps",
    StopReason.BUDGET_TOKENS: "tokens",
    StopReason.BUDGET_SECONDS: "seconds",
    StopReason.BUDGET_COST: "cost",
}
"""Exhausted limit by stop reason: the field's name in ``Budget`` and ``RunUsage``."""


async def cancel(journal: Journal, tenant_id: str, run_id: str, by: str = "") -> Run:
    """Ends a run and its sub-runs at their next step, or at once if no worker holds them. Long calls are ended by the
    worker. Raises Conflict if the run has already ended."""
    return await _command(journal, tenant_id, run_id, lambda run: [CancelRequested(by=by)])


async def interrupt(
    journal: Journal, tenant_id: str, run_id: str, by: str = "", reason: str = "", actor: Actor | None = None
) -> Run:
    """Stops one run by a latched interrupt. Its worker stops within a token; a run without a worker ends at once.
    Raises Conflict if the run has already ended."""
    run = await journal.get(tenant_id, run_id)
    if run.status.terminal:
        raise Conflict(f"run {run_id} has already ended: it is {run.status}")
    latched = await journal.raise_interrupt(tenant_id, "run", run_id, reason, by, actor=actor)

    def events(run: Run) -> Sequence[RunEvent]:
        held = run.status is RunStatus.RUNNING
        return [] if held else [RunEnded(status=RunStatus.INTERRUPTED, stop_reason=StopReason.INTERRUPT)]

    try:
        return await _command(journal, tenant_id, run_id, events)
    except Conflict:
        if (await journal.get(tenant_id, run_id)).status.terminal:  # it ended meanwhile: nothing is left to stop
            await journal.clear_interrupt(tenant_id, latched.id, actor, "the run had ended")
        raise


async def resume(
    journal: Journal,
    tenant_id: str,
    run_id: str,
    by: str = "",
    budget: Budget | None = None,
    session_budget: Budget | None = None,
    tenants: TenantBudgets = TenantBudgets(),  # noqa: B008  (frozen)
    actor: Actor | None = None,
) -> Run:
    """Resumes a run that was interrupted, ran out of budget or failed: queues it again.

    Clears interrupts of this run only. Limits set in ``budget`` and ``session_budget`` replace the earlier ones.

    Raises:
        Conflict: the run cannot be resumed, a broader interrupt is still active, or the used-up limit was not raised.
    """
    run = await journal.get(tenant_id, run_id)
    bounds, shared = _raised(run.budget, budget), _raised(run.session_budget, session_budget)
    _check_resumable(run, budget)  # before any interrupt is cleared
    await _check_shared(journal, run, shared, tenants)
    standing = await journal.interrupts(tenant_id)
    tags = tags_of(run)
    for found in standing:
        if found.scope != "run" and matches(found, tags):
            raise Conflict(f"interrupt {found.id} (scope {found.scope}) is still active: clear it first")
    for found in standing:
        if found.scope == "run" and found.target == run_id:
            await journal.clear_interrupt(tenant_id, found.id, actor, "the run was resumed")

    def events(run: Run) -> Sequence[RunEvent]:
        return [RunResumed(by=by, budget=budget and bounds, session_budget=session_budget and shared)]

    return await _command(journal, tenant_id, run_id, events)


def _check_resumable(run: Run, budget: Budget | None) -> None:
    if not run.status.terminal or run.stop_reason not in RESUMABLE:
        raise Conflict(f"run {run.id} is {run.status} ({run.stop_reason or 'not ended'}): it cannot be resumed")
    check_resume(run)
    bound = BOUNDS.get(run.stop_reason)
    if bound is None:
        return
    raised = getattr(budget, bound) if budget else None
    taken = getattr(used(run), bound)
    if raised is None or raised <= taken:
        raise Conflict(
            f"run {run.id} has used {taken:g} {bound}: resume it with a larger budget.{bound}", param="budget"
        )


async def _check_shared(journal: Journal, run: Run, session: Budget, tenants: TenantBudgets) -> None:
    """Raises Conflict if the shared budget that ended the run is still used up."""
    if run.stop_reason is StopReason.BUDGET_SESSION:
        taken = (await journal.ledger.spending(run.tenant_id, tenants.window, run.session_id)).used
        if (bound := used_up(session, taken)) is not None:
            raise Conflict(
                f"session {run.session_id} has used {getattr(taken, bound):g} {bound}: resume run {run.id} with a"
                f" larger session_budget.{bound}",
                param="session_budget",
            )
    if run.stop_reason is StopReason.BUDGET_SUBJECT and run.subject is not None:
        spending = await journal.ledger.spending(run.tenant_id, tenants.window, subject=run.subject.id)
        if (bound := used_up(tenants.subject, spending.used)) is not None:
            raise Conflict(
                f"subject {run.subject.id} has used its {bound} for this {tenants.window}: resume run {run.id} after"
                f" {spending.until}, or raise the budget of subjects"
            )
    if run.stop_reason is StopReason.BUDGET_TENANT:
        spending = await journal.ledger.spending(run.tenant_id, tenants.window)
        if (bound := used_up(tenants.of(run.tenant_id), spending.used)) is not None:
            raise Conflict(
                f"the tenant has used its {bound} for this {tenants.window}: resume run {run.id} after"
                f" {spending.until}, or raise the tenant's budget"
            )


def _raised(bounds: Budget, asked: Budget | None) -> Budget:
    return bounds.model_copy(update=asked.model_dump(exclude_none=True)) if asked else bounds


async def _command(journal: Journal, tenant_id: str, run_id: str, events: Callable[[Run], Sequence[RunEvent]]) -> Run:
    """Appends the events that ``events`` derives from the run; retries while a worker changes the run."""
    for attempt in range(ATTEMPTS):
        run = await journal.get(tenant_id, run_id)
        wanted = events(run)
        if not wanted:
            return run
        try:
            await journal.append(run_id, wanted)
        except Conflict:
            latest = await journal.get(tenant_id, run_id)
            if attempt + 1 == ATTEMPTS or latest.status is run.status:
                raise
            continue
        return await journal.get(tenant_id, run_id)
    raise AssertionError("unreachable: the last attempt raises")
