"""Projector: folds new journal events into figures and passes them to the aggregator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from agent.run.journal import Journal, Projection
from flightloop.errors import Conflict
from observability import catalog
from observability.config import ObservabilityConfig
from observability.metrics import Metrics, Snapshot
from observability.projection import JournalProjection
from observability.values import Values

log = structlog.get_logger(__name__)
NAME = "figures"
BATCH = 1000


class Projector:
    """Keeps the figures current. A deployment needs one; a second does no harm, because both share one cursor.

    Args:
        sink: receives the figures (``Aggregator.ingest``, or a call to its actor).
        metrics: receives the gauges of pending approvals and active interrupts.
        every_s: seconds between two reads of the journal.
        save_every_s: seconds between two saves; unsaved events are read again after a crash.
    """

    def __init__(
        self,
        journal: Journal,
        config: ObservabilityConfig,
        sink: Callable[[Snapshot], object],
        metrics: Metrics,
        *,
        every_s: float = 0.5,
        save_every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._config = config
        self._sink = sink
        self._metrics = metrics
        self._every_s = every_s
        self._save_every_s = save_every_s
        self._clock = clock
        self._projection = self._empty()
        self._saved = 0
        self._saved_at = clock()

    def values(self, tenant_id: str | None = None) -> Values:
        """Figures of one tenant, or of all."""
        return self._projection.values(tenant_id)

    def alone(self, tenant_id: str) -> bool:
        """Whether no other tenant has any events."""
        return self._projection.tenants <= {tenant_id}

    async def run(self) -> None:
        """Runs until cancelled; failures are logged and retried."""
        loaded = False
        try:
            while True:
                try:
                    if not loaded:
                        await self.load()
                        loaded = True
                    await self.catch_up()
                except Exception:
                    log.exception("figures could not be updated, will retry")
                await asyncio.sleep(self._every_s)
        finally:
            if loaded:
                await self.save()

    async def load(self) -> None:
        stored = await self._journal.projection(NAME)
        self._projection, self._saved = self._empty(), 0
        if stored is not None:
            self._projection = JournalProjection.from_state(
                stored.state, self._config.projection, self._config.business
            )
            self._saved = stored.cursor

    async def catch_up(self) -> None:
        """Adds all new events of the journal to the figures."""
        while batch := await self._journal.read_all(self._projection.position, BATCH):
            for recorded in batch:
                self._projection.apply(recorded.position, recorded.tenant_id, recorded.event)
        await self._state_gauges()
        self._sink(self._projection.snapshot())
        if self._clock() - self._saved_at >= self._save_every_s:
            await self.save()

    async def save(self) -> None:
        """Stores the figures. If another projector has stored them since, loads those instead."""
        self._saved_at = self._clock()
        if self._projection.position == self._saved:
            return
        stored = Projection(self._projection.position, self._projection.state())
        try:
            await self._journal.save_projection(NAME, stored, self._saved)
            self._saved = stored.cursor
        except Conflict:
            await self.load()

    async def _state_gauges(self) -> None:
        decisions = self._projection.values().by(catalog.GUARDRAIL_APPROVALS, "decision")
        waiting = 2 * decisions.get("requested", 0.0) - sum(decisions.values())
        self._metrics.set(catalog.GUARDRAIL_APPROVALS_PENDING, max(0.0, waiting))
        standing = (await self._journal.interrupt_snapshot()).interrupts
        latched = sum(1 for interrupt in standing if interrupt.cleared_at is None)
        self._metrics.set(catalog.GUARDRAIL_INTERRUPT_LATCHED, latched)

    def _empty(self) -> JournalProjection:
        return JournalProjection(self._config.projection, self._config.business)
