"""Round trips between nodes. Who pings whom is decided where the nodes are known (one actor a node)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, permutations

from observability.catalog import SYSTEM_NETWORK_FAILURES, SYSTEM_NETWORK_SECONDS
from observability.metrics import Metrics

MAX_PAIRS = 64

Ping = Callable[[], object]
"""Returns when the answer is there; raises if none comes."""


def tcp_ping(host: str, port: int, timeout_s: float = 2.0) -> Ping:
    """A ping by opening a TCP connection: one round trip, and any listening server answers it."""

    def ping() -> None:
        socket.create_connection((host, port), timeout_s).close()

    return ping


def time_pings(pings: Mapping[str, Ping], clock: Callable[[], float] = time.perf_counter) -> dict[str, float | None]:
    """Seconds that one ping to each target took; None for one that raised."""
    return {target: _seconds(ping, clock) for target, ping in pings.items()}


def record(metrics: Metrics, source: str, times: Mapping[str, float | None]) -> None:
    """Counts what ``time_pings`` measured at ``source``."""
    for target, seconds in times.items():
        labels = {"source": source, "target": target}
        metrics.inc(SYSTEM_NETWORK_FAILURES, float(seconds is None), **labels)
        if seconds is not None:
            metrics.observe(SYSTEM_NETWORK_SECONDS, seconds, **labels)


def pairs(nodes: Iterable[str], limit: int = MAX_PAIRS) -> list[tuple[str, str]]:
    """Ordered pairs of nodes to measure; of a large cluster a bounded, fixed choice, to spare series.

    A node that is alone is measured against itself: the way between two of its processes.
    """
    names = sorted(nodes)
    return [(names[0], names[0])] if len(names) == 1 else list(islice(permutations(names, 2), limit))


def _seconds(ping: Ping, clock: Callable[[], float]) -> float | None:
    began = clock()
    try:
        ping()
    except Exception:  # whatever the transport raises, there was no answer
        return None
    return clock() - began
