"""Serve deployment of the model: one engine per replica, in one process or over several shards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import ray
import torch
from ray import serve

from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import InternalError
from flightloop.model_card import ModelCard
from model.config import ModelConfig
from model.engine.engine import Engine, StopSignal
from model.serve.autoscaling import UTILISATION
from model.serve.server import ChatServer
from model.serve.shard import ShardedRunner
from model.weights.load import load_model
from observability.catalog import SYSTEM_REPLICA_UTILISATION_RATIO
from observability.metrics import Metrics, Snapshot
from observability.reporter import Reporter
from observability.system import SystemSampler

REPORT_INTERVAL_S = 2.0
SHARD_CPUS = 0.25
"""Logical CPUs of a replica or a shard. Ray uses them for placement only; all must fit on a two-core machine."""


class ModelReplica:
    """Serve deployment class: an engine with its server, metrics and optional shards.

    Args:
        config: the model, its format, slots and shards.
        make_stop: creates the reader of the emergency stop in this process.
        make_sink: creates the sink of this process's metrics.
        shard_cpus: logical CPUs of a shard's bundle in the replica's placement group.
        set_up_logs: configures this process's logs.
    """

    def __init__(
        self,
        config: ModelConfig,
        make_stop: Callable[[], StopSignal],
        make_sink: Callable[[], Callable[[Snapshot], object]],
        shard_cpus: float = SHARD_CPUS,
        set_up_logs: Callable[[], object] = lambda: None,
    ) -> None:
        set_up_logs()
        self._shards: ShardedRunner | None = None
        if config.shards > 1:
            self._shards = ShardedRunner.start(config, ray.util.get_current_placement_group(), shard_cpus)
        torch.set_num_threads(1)  # loading copies more than it computes
        loaded = load_model(config)
        self._metrics = Metrics("replica")
        self._engine = Engine(loaded, config, make_stop(), self._metrics, runner=self._shards)
        self._server = ChatServer(
            self._engine, loaded, loaded.name, config.call_confidence, config.stream_interval_ms / 1000
        )
        self._server.start()
        self._sampler = SystemSampler(self._metrics)
        self._deployment = serve.get_replica_context().deployment
        self._reporter = Reporter(self._metrics, make_sink(), REPORT_INTERVAL_S, self._sample).start()

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Streams the answer's chunks. Chunks that become ready during a send go to the caller's process together."""
        async for chunk in self._server.stream(request):
            yield chunk

    async def models(self) -> list[ModelCard]:
        return self._server.models()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """This replica's load in replicas; above 1.0 if requests wait inside it."""
        return {UTILISATION: self._utilisation()}

    def check_health(self) -> None:
        """Raises if Serve should replace this replica: at once for a lost shard, after three checks for a failed
        engine."""
        if self._shards is not None:
            self._shards.check()
        if not self._server.health():
            raise InternalError("the engine has stopped; the replica will restart")

    def _utilisation(self) -> float:
        load = self._server.load()
        return max(load.running / load.slots, load.kv_used_ratio) + load.waiting / load.slots

    def _sample(self) -> None:
        self._sampler.sample()
        self._metrics.set(SYSTEM_REPLICA_UTILISATION_RATIO, self._utilisation(), deployment=self._deployment)

    def __del__(self) -> None:
        # Serve calls this when it retires the replica, even if the constructor failed.
        for part in ("_server", "_reporter"):
            if hasattr(self, part):
                getattr(self, part).close()
