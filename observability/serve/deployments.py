"""Counts the running replicas of each Serve deployment."""

from __future__ import annotations

from ray import serve

from observability.catalog import SYSTEM_REPLICAS
from observability.metrics import Metrics


def sample_replicas(metrics: Metrics) -> None:
    """Sets the gauge of every Serve deployment; 0 for one scaled to zero."""
    for application in serve.status().applications.values():
        for name, deployment in application.deployments.items():
            running = sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")
            metrics.set(SYSTEM_REPLICAS, running, deployment=name)
