"""Index of a session's calls that change something ("writes"), so that finding one does not require reading runs.

A fork has its own session, but its writes are stored under the session at the end of its chain of origins. So all
writes of a family of forks are in one place.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.run.history import result_text
from agent.run.written import DOUBT, Written
from agent.store.backend import Transaction, WriteFilter
from flightloop.events import ApprovalRequested, RunEvent, ToolIntent, ToolResult
from flightloop.runs import Approval, Run
from flightloop.tool import Effect

TOLD = 4_000
"""Characters of a result that are stored."""


def follow(tx: Transaction, run: Run, events: Sequence[RunEvent]) -> None:
    """Stores the writes, the results of writes and the doubts about writes in these events. Delegating to another agent
    is not a write."""
    pure = set()
    for event in events:
        if isinstance(event, ToolIntent) and event.performed_by is None:
            if event.effect == Effect.PURE:
                pure.add(event.call_id)
            else:
                session_id = tx.root_session(run.tenant_id, run.session_id)
                tx.add_write(run.tenant_id, session_id, root(tx, run), _written(run, event))
        elif isinstance(event, ToolResult) and event.call_id not in pure:
            tx.end_write(run.id, event.call_id, event.ok, event.uncertain, _told(event))
        if _doubts(event):
            _add_doubt(tx, run)


def _doubts(event: RunEvent) -> bool:
    if isinstance(event, ToolResult):
        return event.to_confirm is not None
    return isinstance(event, ApprovalRequested) and event.doubted


def _add_doubt(tx: Transaction, run: Run) -> None:
    session_id = tx.root_session(run.tenant_id, run.session_id)
    doubt = Written(run.id, _callers(run), call_id="", tool=DOUBT, arguments={}, args_sha256="", ok=False)
    tx.add_write(run.tenant_id, session_id, root(tx, run), doubt)


def doubted(tx: Transaction, run: Run) -> bool:
    """Whether a doubt is stored for the session, by whichever of its runs."""
    session_id = tx.root_session(run.tenant_id, run.session_id)
    return bool(tx.writes(run.tenant_id, session_id, root(tx, run), WriteFilter(besides="", tool=DOUBT), 1))


def deny(tx: Transaction, run: Run, approval: Approval) -> None:
    """Stores a call that a person has denied; other runs for the same user request must not make it either."""
    session_id = tx.root_session(run.tenant_id, run.session_id)
    written = Written(
        run_id=run.id,
        callers=_callers(run),
        call_id=approval.call_id,
        tool=approval.tool,
        arguments=approval.arguments,
        args_sha256=approval.args_sha256,
        ok=False,
        denied=True,
    )
    tx.add_write(run.tenant_id, session_id, root(tx, run), written)


def _told(result: ToolResult) -> str:
    return result_text(result)[:TOLD].replace("\0", "\ufffd")  # PostgreSQL text can't contain NUL


def root(tx: Transaction, run: Run) -> str:
    """Id of the original run: the origin, through all forks, of the run's root caller."""
    return tx.root(run.parent.callers[0].run_id if run.parent else run.id)


def of_others(tx: Transaction, run: Run, args_sha256: str | None, tool: str | None, limit: int) -> list[Written]:
    """Writes of the session's other runs. With a hash or tool, only those before the run's own such write without a
    result: of two runs that begin the same write together, only the later one finds the other's."""
    before = tx.write_under_way(run.id, args_sha256, tool) if args_sha256 or tool else None
    session_id = tx.root_session(run.tenant_id, run.session_id)
    wanted = WriteFilter(run.id, args_sha256, tool, before)
    return tx.writes(run.tenant_id, session_id, root(tx, run), wanted, limit)


def _callers(run: Run) -> tuple[str, ...]:
    return tuple(caller.run_id for caller in run.parent.callers) if run.parent else ()


def _written(run: Run, intent: ToolIntent) -> Written:
    return Written(
        run_id=run.id,
        callers=_callers(run),
        call_id=intent.call_id,
        tool=intent.tool,
        arguments=intent.arguments,
        args_sha256=intent.args_sha256,
        unsure=intent.unsure,
    )
