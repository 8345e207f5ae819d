"""Connections of a cluster's processes to model, interrupt source and aggregator. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.serve.handle import DeploymentHandle

from agent.config import Settings
from agent.models.chat_model import Capabilities, ChatModel
from agent.models.measured import MeasuredChatModel
from agent.serve import factories
from agent.serve.model import ServeChatModel
from agent.store.sql.interrupt_reader import reader
from guardrails.interrupt import InterruptWatch
from observability.metrics import Metrics, Snapshot
from observability.serve import aggregator_actor

NAMESPACE = "flightloop"
API = "Api"
"""Name of the API's deployment."""


def interrupt_watch(database_url: str, max_silence_s: float) -> InterruptWatch:
    """Interrupt watch that reads the journal's store."""
    return InterruptWatch(reader(database_url), max_silence_s)


def metrics_sink() -> Callable[[Snapshot], object]:
    """Returns a function that sends a process's metrics to the cluster's aggregator."""
    return aggregator_actor.sink(aggregator_actor.get_or_create(NAMESPACE))


async def connect_model(
    settings: Settings, handle: DeploymentHandle[Any] | None, metrics: Metrics
) -> tuple[ChatModel, str]:
    """Returns the model and its name. Waits for the cluster's model deployment, unless the model is remote."""
    if handle is None:
        remote = factories.remote_model(settings)
        name = await factories.model_name(settings, remote)
        await remote.learn(name)
        return MeasuredChatModel(remote, metrics, name), name
    [card] = await handle.models.remote()
    # Our engine reports the confidence itself. Log-probabilities per token would cost a decode step for every token
    # that the grammar determines.
    capabilities = Capabilities(
        logprobs=False,
        interrupts=True,
        parts=frozenset(card.parts),
        reads_plans=card.reads_plans,
        context_length=card.context_length,
    )
    return ServeChatModel(handle, capabilities), card.id
