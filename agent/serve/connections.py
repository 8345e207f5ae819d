"""What the processes of a cluster connect to: the model, the emergency stop, the aggregator. Without torch."""

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
        remote = factories.remote_model(settings)
        name = await factories.model_name(settings, remote)
        return MeasuredChatModel(remote, metrics, name), name
    [card] = await handle.models.remote()
    # Our own answers come with their confidence. Log-probabilities of each token would cost a step for every one that
    # the grammar dictates.
    capabilities = Capabilities(
        logprobs=False, interrupts=True, parts=frozenset(card.parts), context_length=card.context_length
    )
    return ServeChatModel(handle, capabilities), card.id
