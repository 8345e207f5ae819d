"""Measures round trips between nodes. The caller decides which node pings which."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, permutations

from observability.catalog import SYSTEM_NETWORK_FAILURES, SYSTEM_NETWORK_SECONDS
from observability.metrics import Metrics

MAX_PAIRS = 64

Ping = Callable[[], object]
"""Returns when the answer arrives; raises if there is none."""


def time_pings(pings: Mapping[str, Ping], clock: Callable[[], float] = time.perf_counter) -> dict[str, float | None]:
    """Duration of one ping to each target in seconds; None if it raised."""
    return {target: _seconds(ping, clock) for target, ping in pings.items()}


def record(metrics: Metrics, source: str, times: Mapping[str, float | None]) -> None:
    """Records the results of ``time_pings`` at ``source``."""
    for target, seconds in times.items():
        labels = {"source": source, "target": target}
        metrics.inc(SYSTEM_NETWORK_FAILURES, float(seconds is None), **labels)
        if seconds is not None:
            metrics.observe(SYSTEM_NETWORK_SECONDS, seconds, **labels)


def pairs(nodes: Iterable[str], limit: int = MAX_PAIRS) -> list[tuple[str, str]]:
    """Ordered pairs of nodes to measure. In a large cluster, a fixed selection that limits the series.

    A single node is paired with itself, which measures the latency between two of its processes.
    """
    names = sorted(nodes)
    return [(names[0], names[0])] if len(names) == 1 else list(islice(permutations(names, 2), limit))


def _seconds(ping: Ping, clock: Callable[[], float]) -> float | None:
    began = clock()
    try:
        ping()
    except Exception:  # any exception of the transport means no answer
        return None
    return clock() - began
