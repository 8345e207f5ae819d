"""Autoscaling policy: holds the replicas' mean utilisation at a target without flapping.

Serve's controller unpickles and runs this module's function, so it imports nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

UTILISATION = "utilisation"
"""Key under which a replica reports its load in replicas: 1.0 if all slots (or KV blocks) are
taken, more if requests wait inside it."""


class ScalingContext(Protocol):
    """The part of ``ray.serve.config.AutoscalingContext`` that the policy reads."""

    target_num_replicas: int
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int

    @property
    def total_queued_requests(self) -> float | None: ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...


@dataclass(frozen=True)
class HoldUtilisation:
    """Scales so that ``busy / replicas`` stays at or below ``target``.

    ``busy``: the replicas' own utilisation plus the queue in front of them, in units of one replica. Utilisation
    alone saturates at 1.0 and would add one replica at a time; the queue shows how many are missing.
    Scaling in waits until the smaller number would stay ``margin`` below the target, so that a replica
    isn't removed at the load that required it.

    Args:
        target: utilisation to hold, 0..1.
        margin: hysteresis, subtracted from the target for scaling in.
        slots: requests that a replica processes at once.
    """

    target: float = 0.70
    margin: float = 0.05
    slots: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.margin < self.target <= 1:
            raise ValueError(f"need 0 < margin < target <= 1, got margin {self.margin}, target {self.target}")
        if self.slots < 1:
            raise ValueError(f"slots must be at least 1, got {self.slots}")

    def replicas(self, busy: float, current: int) -> int:
        """Desired replicas for a load of ``busy`` replicas if the present target is ``current``; at least 0."""
        if current == 0:
            return math.ceil(busy / self.target)
        if busy / current > self.target:
            return max(current, math.ceil(busy / self.target - 1e-9))
        smallest = math.ceil(busy / (self.target - self.margin) + 1e-9) if busy > 0 else 0
        return min(current, smallest)


def hold_utilisation(
    context: ScalingContext, target: float = 0.70, margin: float = 0.05, slots: int = 8
) -> tuple[int, dict[str, Any]]:
    """Serve's policy function: returns the desired number of replicas, and an empty state."""
    policy = HoldUtilisation(target, margin, slots)
    reported = (context.aggregated_metrics or {}).get(UTILISATION, {})
    busy = sum(reported.values()) + (context.total_queued_requests or 0.0) / policy.slots
    wanted = policy.replicas(busy, context.target_num_replicas)
    bounded = min(max(wanted, context.capacity_adjusted_min_replicas), context.capacity_adjusted_max_replicas)
    return bounded, {}
