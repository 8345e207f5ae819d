"""Figures for the console: the response of ``GET /v1/overview``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from agent.run.journal import Journal
from flightloop.overview import Figure, Overview
from flightloop.runs import RunStatus
from observability import catalog
from observability.catalog import Tier
from observability.values import Values


class Overviews:
    """Builds the overview of a tenant.

    Args:
        values: returns all figures of the aggregator.
        own: returns the figures of one tenant, from the projection.
        alone: returns whether a tenant is the only one, which then also sees figures that are not counted per tenant.
    """

    def __init__(
        self,
        journal: Journal,
        values: Callable[[], Awaitable[Values]],
        own: Callable[[str], Values],
        alone: Callable[[str], bool],
    ) -> None:
        self._journal = journal
        self._values = values
        self._own = own
        self._alone = alone

    async def __call__(self, tenant_id: str) -> Overview:
        everything = await self._values()
        own = self._own(tenant_id)
        mine = everything if self._alone(tenant_id) else own
        return Overview(
            at=datetime.now(UTC),
            runs=await self._runs(tenant_id, own),
            pending_approvals=await self._journal.pending_approvals(tenant_id),
            interrupts=await self._journal.interrupts(tenant_id),
            system=figures(everything, Tier.SYSTEM),
            model=figures(everything, Tier.MODEL),
            business=figures(mine, Tier.BUSINESS),
            guardrail=figures(mine, Tier.GUARDRAIL, Tier.RUN, Tier.TOOL),
        )

    async def _runs(self, tenant_id: str, own: Values) -> dict[str, int]:
        """Number of runs by status. A run that was resumed after it had ended is counted at each end."""
        ended = own.by(catalog.RUN_ENDED, "status")
        counts = {status.value: int(ended.get(status.value, 0)) for status in RunStatus if status.terminal}
        still = await self._journal.open_runs(tenant_id)
        return counts | {status.value: still.get(status, 0) for status in RunStatus if not status.terminal}


def figures(values: Values, *tiers: Tier) -> list[Figure]:
    """All series of the given tiers; the value of a histogram is its mean."""
    rows = [(catalog.BY_NAME[row["name"]], row) for row in values.to_json()]
    return [_figure(metric.help, row) for metric, row in rows if metric.tier in tiers]


def _figure(help: str, row: dict[str, Any]) -> Figure:
    value = row.get("value")
    if row.get("count"):
        value = row["sum"] / row["count"]
    return Figure(
        name=row["name"],
        value=value,
        labels=row["labels"],
        help=help,
        count=row.get("count"),
        p50=row.get("p50"),
        p95=row.get("p95"),
    )
