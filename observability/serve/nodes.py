"""Measures network latency in a Ray cluster by one pinned actor per node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from observability.metrics import Metrics
from observability.network import pairs, record, time_pings

TIMEOUT_S = 5.0


class NodeActor:
    """Answers pings and measures pings to other nodes' actors."""

    def ping(self) -> None:
        """Returns at once; the caller measures the round trip."""

    def time(self, others: Mapping[str, Any]) -> dict[str, float | None]:
        return time_pings({name: _ping(actor) for name, actor in others.items()})


class NodePings:
    """Measures the cluster's network. Nodes may join and leave between samples."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._actors: dict[str, Any] = {}
        self._addresses: dict[str, str] = {}

    def sample(self) -> None:
        """Pings each pair of nodes once and records the round trips.

        If a source dies meanwhile, its pings count as unanswered.
        """
        self._follow_nodes()
        targets: dict[str, list[str]] = {}
        for source, target in pairs(self._actors):
            targets.setdefault(source, []).append(target)
        for source, names in targets.items():
            # A single node's actor cannot ping itself, so this process pings it.
            if names == [source]:
                times = time_pings({source: _ping(self._actors[source])})
            else:
                times = self._time_at(source, names)
            label = self._addresses[source]
            record(self._metrics, label, {self._addresses[name]: seconds for name, seconds in times.items()})

    def close(self) -> None:
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()

    def _time_at(self, source: str, names: list[str]) -> dict[str, float | None]:
        asked = self._actors[source].time.remote({name: self._actors[name] for name in names})
        try:
            times: dict[str, float | None] = ray.get(asked, timeout=TIMEOUT_S * (len(names) + 1))
        except ray.exceptions.RayError:
            return dict.fromkeys(names)
        return times

    def _follow_nodes(self) -> None:
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        for name in set(self._actors) - set(nodes):
            ray.kill(self._actors.pop(name))
        for name in sorted(set(nodes) - set(self._actors)):
            strategy = NodeAffinitySchedulingStrategy(name, soft=False)
            # Two threads: the actor must answer pings while it measures others.
            options = ray.remote(NodeActor).options(scheduling_strategy=strategy, num_cpus=0, max_concurrency=2)
            self._actors[name] = options.remote()
            time_pings({name: _ping(self._actors[name], timeout_s=60.0)})  # the actor's start must not count as latency
        self._addresses = nodes


def _ping(actor: Any, timeout_s: float = TIMEOUT_S) -> Callable[[], object]:
    return lambda: ray.get(actor.ping.remote(), timeout=timeout_s)
