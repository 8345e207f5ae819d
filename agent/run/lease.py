"""A worker's right to write a run, for a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flightloop.errors import Conflict


class LeaseLost(Conflict):
    """The run was claimed by another worker since, or given back: nothing was written."""

    code = "lease_lost"


@dataclass(frozen=True)
class Lease:
    """A worker's right to write a run. ``fence`` grows with every claim of the run."""

    run_id: str
    worker: str
    fence: int
    expires_at: datetime
