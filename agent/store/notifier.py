"""Wakes waiters in this process after a write. Other processes are notified by PostgreSQL, or poll."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from flightloop.runs import Run, RunStatus

CHANNEL = "flightloop"
"""PostgreSQL notification channel."""
WORK = ""
"""Topic of runs that became claimable; every other topic is a run id."""


def topics(run: Run) -> set[str]:
    """Topics that a write to this run notifies."""
    found = {run.id}
    if run.parent is not None and run.status.terminal:
        found |= {run.parent.run_id, WORK}
    return found | {WORK} if run.status is RunStatus.QUEUED else found


class Notifier:
    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def notify(self, topic: str | None) -> None:
        """Wakes the waiters of a topic; None: all waiters."""
        waiting = chain.from_iterable(self._waiting.values()) if topic is None else self._waiting.get(topic, ())
        for event in waiting:
            event.set()

    @contextmanager
    def listening(self, topic: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting[topic].add(event)
        try:
            yield event
        finally:
            self._waiting[topic].discard(event)
            if not self._waiting[topic]:
                del self._waiting[topic]


async def wait_set(event: asyncio.Event, timeout_s: float) -> bool:
    """Waits at most ``timeout_s`` for the event; clears it. Returns whether it was set."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False
    event.clear()
    return True
