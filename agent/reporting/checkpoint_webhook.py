"""Sends checkpoints of the audit log to other systems, at least once and in order.

A receiver that keeps them can show what whoever controls this machine removed. So no checkpoint is given up: a receiver
that was down gets all that it missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx
import structlog

from agent.reporting.webhooks import CHECKPOINT, DeliveryConfig, Endpoint, body_of, post
from agent.run.journal import Journal, Projection
from flightloop.errors import Conflict
from guardrails.audit_keys import AuditKeys
from guardrails.checkpoints import Checkpoint, CheckpointFile
from observability import catalog
from observability.metrics import Metrics

log = structlog.get_logger(__name__)


class CheckpointWebhook:
    """Sends the lines of a file of checkpoints to one endpoint, from the file's beginning.

    Args:
        own: tenant of the deployment. Its endpoints get the lines of all tenants, others those of their tenant.
        client: must not follow redirects.
        sleep: waits between two attempts.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        journal: Journal,
        endpoint: Endpoint,
        file: CheckpointFile,
        own: str,
        client: httpx.AsyncClient,
        metrics: Metrics,
        config: DeliveryConfig | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._endpoint = endpoint
        self._file = file
        self._all = endpoint.tenant_id == own
        self._client = client
        self._metrics = metrics
        self._config = config or DeliveryConfig()
        self._sleep = sleep
        self._clock = clock

    async def run(self) -> None:
        """Runs until cancelled; internal errors are logged and retried."""
        while True:
            try:
                await self.catch_up()
            except Conflict:
                pass  # another process was faster
            except Exception:
                log.exception("checkpoints could not be sent, will retry", endpoint=self._endpoint.name)
            await asyncio.sleep(self._config.poll_s)

    async def catch_up(self) -> int:
        """Sends all lines so far. Returns their number. Raises Conflict if another process has moved the cursor."""
        lines = (await asyncio.to_thread(self._file.read)).lines
        if not lines:
            return 0
        name = f"checkpoint-webhook:{self._endpoint.name}:{lines[0].file}"
        known = await self._journal.projection(name)
        cursor = stored = known.cursor if known else 0
        sent = 0
        for line in lines:
            if line.number < cursor:
                continue
            if self._all or line.tenant_id == self._endpoint.tenant_id:
                await self._deliver(line)
                sent += 1
            cursor = line.number + 1
            await self._journal.save_projection(name, Projection(cursor, {}), stored)
            stored = cursor
        return sent

    async def _deliver(self, line: Checkpoint) -> None:
        """Returns when the line was delivered."""
        data = line.model_dump(mode="json", exclude_defaults=True)
        body, message_id = body_of(CHECKPOINT, line.at, data), f"msg_{line.file}_{line.number}"
        failed = 0
        while (problem := await self._sent(message_id, body)) is not None:
            self._metrics.inc(catalog.SYSTEM_WEBHOOKS, endpoint=self._endpoint.name, outcome="failed")
            told = {"endpoint": self._endpoint.name, "webhook_id": message_id, "problem": problem}
            log.warning("audit checkpoint not delivered, will retry", **told)
            await self._sleep(min(2.0**failed, self._config.longest_wait_s))
            failed = min(failed + 1, 32)
        self._metrics.inc(catalog.SYSTEM_WEBHOOKS, endpoint=self._endpoint.name, outcome="delivered")

    async def _sent(self, message_id: str, body: bytes) -> str | None:
        now = int(self._clock())
        return await post(self._client, self._endpoint, message_id, body, now, self._config.timeout_s)


async def deliver_checkpoints(
    journal: Journal, endpoints: Sequence[Endpoint], path: Path, keys: AuditKeys, own: str, metrics: Metrics
) -> None:
    """Delivers to all endpoints that want checkpoints, concurrently until cancelled."""
    config, file = DeliveryConfig(), CheckpointFile(path, keys)
    wanting = [endpoint for endpoint in endpoints if CHECKPOINT in endpoint.events]
    async with httpx.AsyncClient(timeout=config.timeout_s, follow_redirects=False) as client:
        await asyncio.gather(
            *(CheckpointWebhook(journal, one, file, own, client, metrics, config).run() for one in wanting)
        )
