"""Leases: a worker's exclusive right to write a run for a limited time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flightloop.errors import Conflict


class LeaseLost(Conflict):
    """The lease expired and the run was claimed again, or it was released: nothing was written."""

    code = "lease_lost"


@dataclass(frozen=True)
class Lease:
    """A worker's exclusive right to write a run. ``fence`` increases with every claim of the run."""

    run_id: str
    worker: str
    fence: int
    expires_at: datetime
