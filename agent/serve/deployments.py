"""How each deployment runs: places, bounds, and what it makes of its arguments in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import serve
from ray.serve import Deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.handle import DeploymentHandle

from agent import compose
from agent.chat_model import Capabilities, ChatModel
from agent.config import Settings
from agent.models.measured import MeasuredChatModel
from agent.serve.model import ServeChatModel
from agent.store.interrupts import reader
from guardrails.interrupt import InterruptWatch
from model.config import ModelConfig
from model.serve.autoscaling import hold_utilisation
from model.serve.replica import ModelReplica
from observability.metrics import Metrics, Snapshot
from observability.serve import aggregator_actor

NAMESPACE = "flightloop"
SHARD_CPUS = 0.5
WAITING_PER_SLOT = 3
"""Requests that may wait inside a replica for each slot, so that the engine's priorities have a choice."""


def model_deployment(config: ModelConfig, replicas_min: int, replicas_max: int) -> Deployment:
    """The model's deployment, still without its arguments.

    Args:
        config: of one replica; more than one shard gives each replica a placement group.
        replicas_min: replicas that always run; 0 lets the model sleep.
        replicas_max: the most that load may start.
    """
    scaling = AutoscalingConfig(
        min_replicas=replicas_min,
        initial_replicas=max(1, replicas_min),
        max_replicas=replicas_max,
        policy=AutoscalingPolicy(policy_function=hold_utilisation, policy_kwargs={"slots": config.slots}),
        look_back_period_s=4.0,
        metrics_interval_s=1.0,
        upscale_delay_s=2.0,
        downscale_delay_s=30.0,
    )
    deployment = serve.deployment(ModelReplica).options(
        name="Model",
        autoscaling_config=scaling,
        max_ongoing_requests=config.slots * (1 + WAITING_PER_SLOT),
        health_check_period_s=1.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=20.0,
        ray_actor_options={"num_cpus": SHARD_CPUS},
    )
    if config.shards > 1:
        bundles = [{"CPU": SHARD_CPUS}] * (1 + config.shards)
        deployment = deployment.options(placement_group_bundles=bundles, placement_group_strategy="PACK")
    return deployment


def interrupt_watch(database_url: str, max_silence_s: float) -> InterruptWatch:
    """The emergency stop, read from the journal's store."""
    return InterruptWatch(reader(database_url), max_silence_s)


def metrics_sink() -> Callable[[Snapshot], object]:
    """Where a process of this cluster delivers its figures."""
    return aggregator_actor.sink(aggregator_actor.get_or_create(NAMESPACE))


async def connect_model(
    settings: Settings, handle: DeploymentHandle[Any] | None, metrics: Metrics
) -> tuple[ChatModel, str]:
    """The model and its name: our own deployment, which may still be starting, or a remote server."""
    if handle is None:
        remote = compose.remote_model(settings)
        name = await compose.model_name(settings, remote)
        return MeasuredChatModel(remote, metrics, name), name
    [card] = await handle.models.remote()
    capabilities = Capabilities(
        logprobs=True, interrupts=True, parts=frozenset(card.parts), context_length=card.context_length
    )
    return ServeChatModel(handle, capabilities), card.id
