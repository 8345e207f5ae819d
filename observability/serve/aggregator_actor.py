"""The aggregator as a named Ray actor: one per deployment, found by name from any process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from observability.aggregator import Aggregator
from observability.metrics import Snapshot
from observability.values import Values

NAME = "flightloop-metrics"


class AggregatorActor:
    """Body of the actor. Its methods are called remotely; arguments and results are plain data."""

    def __init__(self, expiry_s: float = 30.0) -> None:
        self._aggregator = Aggregator(expiry_s)

    def ingest(self, snapshot: Snapshot) -> bool:
        return self._aggregator.ingest(snapshot)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Exposition and content type."""
        return self._aggregator.expose(accept)

    def values(self) -> Values:
        return self._aggregator.values()


def get_or_create(namespace: str, expiry_s: float = 30.0) -> Any:
    """The deployment's aggregator. If it dies, Ray restarts it and live processes report their totals again.

    Args:
        namespace: Ray namespace, the same for all processes of a deployment.
        expiry_s: seconds without a snapshot after which a process's gauges are dropped.
    """
    actor = ray.remote(AggregatorActor).options(
        name=NAME,
        namespace=namespace,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=3,  # snapshots are cumulative, so repeating one does no harm
    )
    return actor.remote(expiry_s)


def sink(actor: Any, timeout_s: float = 10.0) -> Callable[[Snapshot], object]:
    """A sink for ``Reporter`` that waits for the actor's answer, so that failures surface."""

    def deliver(snapshot: Snapshot) -> object:
        return ray.get(actor.ingest.remote(snapshot), timeout=timeout_s)

    return deliver
