"""API deployment on Ray: serves requests that the front forwards, and computes metrics from the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from ray.serve.handle import DeploymentHandle
from starlette.types import Message, Scope

from agent.api.app import create_app
from agent.config import Settings
from agent.reporting.checkpoints import checkpointing
from agent.reporting.projector import Projector
from agent.run.deltas import LocalDeltas
from agent.serve.api_dependencies import ApiParts
from agent.serve.connections import NAMESPACE, connect_model, metrics_sink
from agent.serve.factories import (
    deliver_webhooks,
    erase_old_runs,
    live_project,
    make_checkpointer,
    make_project_acts,
    make_room,
    open_journal,
)
from agent.serve.front.whole_request import answers
from agent.serve.garbage_collection import settle
from agent.serve.logs import log_to_file
from flightloop.events import DeltaEvent
from observability.metrics import Metrics, Snapshot
from observability.reporter import Reporter
from observability.serve import aggregator_actor
from observability.serve.deployments import sample_replicas
from observability.serve.nodes import NodePings
from observability.system import SystemSampler
from observability.tracing import Tracing, close, setup
from observability.values import Values


class ApiHost:
    """Hosts the API in exactly one replica: SQLite needs a single node, and all deltas must reach one process.

    Args:
        settings: settings of the deployment, with absolute paths.
        handle: the model's deployment; None when the model is remote.
        worker: the worker's deployment. It is not called; binding it makes it part of the application.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings, handle: DeploymentHandle[Any] | None, worker: DeploymentHandle[Any]
    ) -> None:
        log_to_file(settings, "api")
        self._metrics = Metrics("api")
        model, name = await connect_model(settings, handle, self._metrics)
        self._deltas = LocalDeltas()
        self._aggregator = aggregator_actor.get_or_create(NAMESPACE)
        self._journal, room = open_journal(settings), make_room(settings)
        probed = model if settings.replicas_min or settings.model_url else None  # don't wake a model scaled to zero
        self._provider = setup(settings.observability().tracing)
        self._projector = Projector(
            self._journal, settings.observability(), partial(_in_background, self._aggregator), self._metrics
        )
        live = live_project(settings)
        parts = ApiParts(settings, live, self._journal, room, model, name, probed, self._metrics)
        tracing = Tracing(self._provider, settings.trace_content)
        self._deps = parts.api(self._deltas, tracing, self._projector, self._values, self._expose)
        self._app = create_app(self._deps)
        self._sampler, self._pings = SystemSampler(self._metrics), NodePings(self._metrics)
        self._reporter = Reporter(self._metrics, metrics_sink(), sample=self._sample).start()
        self._projecting = asyncio.create_task(self._projector.run())
        self._delivering = asyncio.create_task(deliver_webhooks(settings, self._journal, self._metrics))
        self._recording = asyncio.create_task(make_project_acts(settings, self._journal, live).run())
        self._erasing = asyncio.create_task(erase_old_runs(settings, self._journal))
        self._checkpointing = checkpointing(make_checkpointer(settings, self._journal))
        await self._checkpointing.__aenter__()
        settle()

    async def answered(self, scope: Scope, body: bytes) -> AsyncIterator[list[Message]]:
        """Answers a request with batches of ASGI messages; the front calls this through a handle."""
        async with aclosing(answers(self._app, scope, body)) as messages:
            async for several in messages:
                yield several

    async def publish(self, deltas: list[DeltaEvent]) -> None:
        """Receives text that a worker has released; called through a handle."""
        for delta in deltas:
            self._deltas.publish(delta)

    async def end_streams(self) -> None:
        """Ends open streams and refuses new ones, because Serve waits for them before it stops this replica."""
        self._deps.closing.set()

    async def check_health(self) -> None:
        if self._projecting.done():
            self._projecting.result()

    async def __del__(self) -> None:
        self._deps.closing.set()
        self._projecting.cancel()
        self._delivering.cancel()
        self._recording.cancel()
        self._erasing.cancel()
        tasks = (self._projecting, self._delivering, self._recording, self._erasing)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._checkpointing.__aexit__(None, None, None)
        await self._deps.close()
        await self._journal.close()
        await asyncio.to_thread(close, self._provider)
        try:
            await asyncio.to_thread(self._reporter.close)  # takes a last sample; fails if the aggregator has ended
        finally:
            await asyncio.to_thread(self._pings.close)

    async def _values(self) -> Values:
        return await self._aggregator.values.remote()  # type: ignore[no-any-return]

    async def _expose(self, accept: str) -> tuple[bytes, str]:
        return await self._aggregator.render.remote(accept)  # type: ignore[no-any-return]

    def _sample(self) -> None:
        self._sampler.sample()
        if not self._deps.closing.is_set():  # the cluster is stopping too and would answer slowly
            self._pings.sample()
            sample_replicas(self._metrics)


def _in_background(aggregator: Any, snapshot: Snapshot) -> None:
    """Sends a snapshot without waiting for delivery: values are cumulative, so a lost one does no harm."""
    aggregator.ingest.remote(snapshot)
