"""Transaction of the SQL backend, composed of a class per kind of record."""

from __future__ import annotations

from agent.store.backend import AuditContext
from agent.store.sql.api_keys import SqlKeys
from agent.store.sql.approvals import SqlApprovals
from agent.store.sql.audit import SqlAudit
from agent.store.sql.child_runs import SqlChildRuns
from agent.store.sql.connection import Connection
from agent.store.sql.counted_calls import SqlCountedCalls
from agent.store.sql.erasure import SqlErasure
from agent.store.sql.events import SqlEvents
from agent.store.sql.forks import SqlForks
from agent.store.sql.idempotency_keys import SqlAnswers
from agent.store.sql.interrupts import SqlInterrupts
from agent.store.sql.policies import SqlPolicies
from agent.store.sql.projections import SqlProjections
from agent.store.sql.runs import SqlRuns
from agent.store.sql.spending import SqlSpending
from agent.store.sql.writes import SqlWrites


class SqlTransaction(
    SqlRuns,
    SqlChildRuns,
    SqlEvents,
    SqlForks,
    SqlWrites,
    SqlAudit,
    SqlPolicies,
    SqlApprovals,
    SqlInterrupts,
    SqlAnswers,
    SqlKeys,
    SqlSpending,
    SqlCountedCalls,
    SqlProjections,
    SqlErasure,
):
    """Implements ``agent.store.backend.Transaction``. Locks no rows: writing transactions run one at a time."""

    def __init__(self, connection: Connection, audit: AuditContext) -> None:
        self._connection = connection
        self.audit_context = audit
