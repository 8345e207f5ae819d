"""Rate limits per key and per subject: a sliding window of one minute, in this process's memory."""

from __future__ import annotations

import time
from hashlib import sha256

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from agent.api.auth import Principal
from flightloop.errors import Overloaded
from flightloop.subject import Subject


class Rates:
    """Counts requests per key, and runs and completions per subject.

    Args:
        per_minute: maximum number of requests of one key.
        per_subject: maximum number of runs and completions that begin on behalf of one subject.
    """

    def __init__(self, per_minute: int, per_subject: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._of_subject = RateLimitItemPerMinute(per_subject, namespace="SUBJECT")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def admit(self, caller: Principal) -> None:
        """Counts a request. Raises Overloaded with the seconds until there is room again."""
        told = f"{caller.called} has used its {self._item.amount} requests per minute"
        self._admit(self._item, (caller.tenant_id, caller.key), told)

    def admit_subject(self, tenant_id: str, subject: Subject | None) -> None:
        """Counts a run or completion. Raises Overloaded like ``admit``. Anonymous work is limited per key only."""
        if subject is not None:
            most = self._of_subject.amount
            told = f"the subject {subject.id} has used its {most} runs and completions per minute"
            self._admit(self._of_subject, (tenant_id, sha256(subject.id.encode()).hexdigest()), told)

    def _admit(self, item: RateLimitItem, whom: tuple[str, str], told: str) -> None:
        if not self._limiter.hit(item, *whom):
            left = max(1.0, self._limiter.get_window_stats(item, *whom).reset_time - time.time())
            raise Overloaded(told, retry_after=left)
