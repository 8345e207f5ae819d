"""Tells waiters in this process that something was written. Other processes are notified by PostgreSQL, or poll."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from flightloop.runs import Run, RunStatus

CHANNEL = "flightloop"
"""Of PostgreSQL's notifications."""
WORK = ""
"""The topic of runs that became claimable; every other topic is a run's id."""


def topics(run: Run) -> set[str]:
    """Topics of a write to this run."""
    found = {run.id}
    if run.parent is not None and run.status.terminal:
        found |= {run.parent.run_id, WORK}
    return found | {WORK} if run.status is RunStatus.QUEUED else found


class Signals:
    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def notify(self, topic: str | None) -> None:
        """Wakes those who wait for a topic; None: everybody."""
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
    """Whether the event was set within the time; it is clear afterwards."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False
    event.clear()
    return True
