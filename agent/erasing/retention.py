"""Retention: erases the content of old runs once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from agent.erasing.eraser import Eraser
from agent.run.erasure import ErasureFilter
from flightloop.acts import system
from flightloop.erasure import ErasureReport

log = structlog.get_logger(__name__)
DAY_S = 24 * 3600.0
RETENTION = system("retention")


class Retention:
    """Erases runs of all tenants a number of days after their end. Several processes may do so.

    The database's files are not rewritten, so that nobody has to wait.
    """

    def __init__(
        self,
        eraser: Eraser,
        days: int,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._eraser = eraser
        self._days = days
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Runs until cancelled, first at once; failures are logged and retried the next day."""
        while True:
            try:
                await self.erase_old()
            except Exception:
                log.exception("old runs could not be erased, will retry", days=self._days)
            await self._sleep(DAY_S)

    async def erase_old(self) -> ErasureReport:
        before = self._clock() - timedelta(days=self._days)
        report = await self._eraser.erase(ErasureFilter(None, before=before), RETENTION)
        if report.runs or report.problems:
            log.info("old runs erased", runs=report.runs, before=before.isoformat(), problems=report.problems)
        return report
