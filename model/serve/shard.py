"""A model whose routed experts are split over several actors of a replica.

Every shard computes attention, routing and the shared expert itself and holds its own part of the
routed experts. Within a layer the shards communicate by ``torch.distributed`` (gloo), so a step takes
only one control call through Ray.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor

from model.config import ModelConfig, resolve_kv_blocks, resolve_threads
from model.engine.block_groups import window_blocks
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, StepBatch
from model.nn.dispatch import AllToAllDispatcher
from model.weights.load import load_model

COLLECTIVE_TIMEOUT = timedelta(seconds=60)
"""How long a shard waits for the others within a layer before it fails."""


class Shard:
    """Body of a shard's actor."""

    def __init__(self, config: ModelConfig, rank: int) -> None:
        self._config, self._rank = config, rank
        self._runner: LocalRunner | None = None

    def endpoint(self) -> str:
        """URL of a free TCP port on this node, for ``init_process_group``. Called on rank 0 only."""
        with socket.socket() as probe:
            probe.bind((ray.util.get_node_ip_address(), 0))
            host, port = probe.getsockname()
        return f"tcp://{host}:{port}"

    def join(self, endpoint: str) -> None:
        """Joins the other shards and loads this shard's part of the model."""
        config = self._config
        torch.set_num_threads(resolve_threads(config.threads, os.cpu_count() or 1, processes=config.shards))
        dist.init_process_group(
            "gloo", init_method=endpoint, rank=self._rank, world_size=config.shards, timeout=COLLECTIVE_TIMEOUT
        )
        loaded = load_model(config)
        shape = loaded.config
        loaded.decoder.use_dispatcher(AllToAllDispatcher(None, shape.experts))
        self._runner = LocalRunner(
            loaded.decoder,
            kv_cache(
                shape,
                loaded.decoder.dtype,
                resolve_kv_blocks(config),
                config.block_size,
                window_blocks(shape, config),
            ),
        )

    def run(self, batch: StepBatch) -> Any:
        """Runs a step. Rank 0 returns the logits as an array (N, V), the others None."""
        assert self._runner is not None, "join first"
        logits = self._runner.run(batch)
        return logits.numpy() if self._rank == 0 else None

    def expert_tokens(self) -> list[int]:
        assert self._runner is not None, "join first"
        return list(self._runner.expert_tokens())

    def ping(self) -> int:
        return self._rank


class ShardedRunner:
    """Runs each step on all shards; a `Runner` for the engine."""

    def __init__(self, shards: Sequence[Any]) -> None:
        self.shards = list(shards)

    @classmethod
    def start(cls, config: ModelConfig, group: PlacementGroup, cpus: float) -> ShardedRunner:
        """Starts ``config.shards`` actors in bundles 1, 2, … of a placement group and connects them.

        A shard is never restarted alone, since its KV cache would be lost: the whole replica restarts.
        """
        actor = ray.remote(max_restarts=0, num_cpus=cpus)(Shard)
        shards = [
            actor.options(
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=1 + rank)
            ).remote(config, rank)
            for rank in range(config.shards)
        ]
        endpoint = ray.get(shards[0].endpoint.remote())
        ray.get([shard.join.remote(endpoint) for shard in shards])
        return cls(shards)

    def run(self, batch: StepBatch) -> Tensor:
        logits, *_ = ray.get([shard.run.remote(batch) for shard in self.shards])
        # Ray's arrays are read-only views of its store.
        return torch.from_numpy(logits.copy())

    def expert_tokens(self) -> Sequence[int]:
        # All shards compute the same routing, so each of them knows all counts.
        return ray.get(self.shards[0].expert_tokens.remote())  # type: ignore[no-any-return]

    def check(self) -> None:
        """Raises RayActorError if a shard is lost."""
        ray.get([shard.ping.remote() for shard in self.shards])
