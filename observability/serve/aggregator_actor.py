"""The aggregator as a named Ray actor: one for a deployment, found by its name from any process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from observability.aggregator import Aggregator
from observability.metrics import Snapshot
from observability.values import Values

NAME = "flightloop-metrics"


class AggregatorActor:
    """What the actor runs. Its methods are called remotely; arguments and results are plain data."""

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
    """The deployment's aggregator. Ray restarts it if it dies; the living report their sums again.

    Args:
        namespace: Ray namespace; processes of one deployment give the same.
        expiry_s: silence after which a process's gauges no longer hold.
    """
    actor = ray.remote(AggregatorActor).options(
        name=NAME,
        namespace=namespace,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=3,  # snapshots are cumulative: a repeated one does no harm
    )
    return actor.remote(expiry_s)


def sink(actor: Any, timeout_s: float = 10.0) -> Callable[[Snapshot], object]:
    """A sink for ``Reporter``: waits for the actor's answer, so that a failure is seen."""

    def deliver(snapshot: Snapshot) -> object:
        return ray.get(actor.ingest.remote(snapshot), timeout=timeout_s)

    return deliver
