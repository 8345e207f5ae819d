"""How many replicas of each Serve deployment run."""

from __future__ import annotations

from ray import serve

from observability.catalog import SYSTEM_REPLICAS
from observability.metrics import Metrics


def sample_replicas(metrics: Metrics) -> None:
    """Sets the gauge for every deployment that Serve knows; 0 for one that sleeps."""
    for application in serve.status().applications.values():
        for name, deployment in application.deployments.items():
            running = sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")
            metrics.set(SYSTEM_REPLICAS, running, deployment=name)
