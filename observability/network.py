"""Round trips between nodes. Who pings whom is decided where the nodes are known (one actor a node)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, permutations

from observability.catalog import SYSTEM_NETWORK_FAILURES, SYSTEM_NETWORK_SECONDS
from observability.metrics import Metrics

MAX_PAIRS = 64


def tcp_ping(host: str, port: int, timeout_s: float = 2.0) -> Callable[[], None]:
    """A ping by opening a TCP connection: one round trip, and any listening server answers it."""

    def ping() -> None:
        socket.create_connection((host, port), timeout_s).close()

    return ping


def measure(
    metrics: Metrics,
    source: str,
    pings: Mapping[str, Callable[[], None]],
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Times one ping to each target, in seconds; one that raises counts as a failure."""
    for target, ping in pings.items():
        labels = {"source": source, "target": target}
        began = clock()
        try:
            ping()
        except Exception:  # whatever the transport raises, there was no answer
            metrics.inc(SYSTEM_NETWORK_FAILURES, **labels)
        else:
            metrics.observe(SYSTEM_NETWORK_SECONDS, clock() - began, **labels)
            metrics.inc(SYSTEM_NETWORK_FAILURES, 0, **labels)


def pairs(nodes: Iterable[str], limit: int = MAX_PAIRS) -> list[tuple[str, str]]:
    """Ordered pairs of nodes to measure; of a large cluster a bounded, fixed choice, to spare series."""
    return list(islice(permutations(sorted(nodes), 2), limit))
