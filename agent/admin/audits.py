"""``python -m agent audit verify``: recomputes the hash chain of an audit log."""

from __future__ import annotations

from collections.abc import Callable

from agent.config import Settings
from agent.serve import factories
from flightloop.verdicts import AuditRecord
from guardrails.audit import verify

PAGE = 1000


async def verify_audit(settings: Settings, tenant_id: str, tell: Callable[[str], None]) -> bool:
    """Checks the hash chain of a tenant's audit log and prints the result. Returns whether the chain is intact."""
    journal = factories.open_journal(settings)
    last: AuditRecord | None = None
    count = 0
    try:
        while page := await journal.audit(tenant_id, after=last.seq if last else 0, limit=PAGE):
            broken = verify(page, last)
            if broken is not None:
                tell(f"record {broken} of tenant {tenant_id} breaks the chain: the log was changed")
                return False
            last, count = page[-1], count + len(page)
    finally:
        await journal.close()
    tell(f"{count} records of tenant {tenant_id}: the chain is intact")
    return True
