"""Verdicts on completions: audited and counted, as a run's are through its journal."""

from __future__ import annotations

from collections.abc import Sequence

from agent.api.deps import ApiDeps
from flightloop.verdicts import Verdict
from observability import catalog


async def record(deps: ApiDeps, tenant_id: str, verdicts: Sequence[Verdict]) -> None:
    """One record of what was judged together, before anything is done with it: no audit, no answer."""
    if not verdicts:
        return
    await deps.journal.record(tenant_id, verdicts)
    for verdict in verdicts:
        deps.metrics.inc(
            catalog.GUARDRAIL_VERDICTS, stage=verdict.stage.value, rail=verdict.rail, action=verdict.action.value
        )
        deps.metrics.observe(catalog.GUARDRAIL_SECONDS, verdict.milliseconds / 1000, rail=verdict.rail)
