"""Rate limit per key: a sliding window of one minute, in this process's memory."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from agent.api.auth import Principal
from flightloop.errors import Overloaded


class Rates:
    """Counts requests per key.

    Args:
        per_minute: maximum number of requests of one key.
    """

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def admit(self, caller: Principal) -> None:
        """Counts a request. Raises Overloaded with the seconds until there is room again."""
        whom = caller.tenant_id, caller.key
        if not self._limiter.hit(self._item, *whom):
            left = max(1.0, self._limiter.get_window_stats(self._item, *whom).reset_time - time.time())
            raise Overloaded(
                f"the key {caller.name} has used its {self._item.amount} requests per minute", retry_after=left
            )
