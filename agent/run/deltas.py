"""Deltas: text streamed while it is decoded. They are not durable, so they bypass the journal."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from flightloop.events import DeltaEvent


class Deltas(Protocol):
    """Channel on which a worker publishes released text for the clients that stream the run."""

    def publish(self, delta: DeltaEvent) -> None:
        """Publishes a delta. Never blocks and never fails: deltas are dropped if there is no room."""
        ...


class LocalDeltas:
    """Publishes deltas within one process and event loop. A slow listener loses the oldest deltas."""

    def __init__(self, backlog: int = 1000) -> None:
        self._backlog = backlog
        self._listeners: dict[str, set[asyncio.Queue[DeltaEvent]]] = defaultdict(set)

    def publish(self, delta: DeltaEvent) -> None:
        for queue in self._listeners.get(delta.run_id, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(delta)

    @contextmanager
    def listen(self, run_id: str) -> Iterator[asyncio.Queue[DeltaEvent]]:
        """A queue that receives the run's deltas while the context is open."""
        queue: asyncio.Queue[DeltaEvent] = asyncio.Queue(self._backlog)
        self._listeners[run_id].add(queue)
        try:
            yield queue
        finally:
            self._listeners[run_id].discard(queue)
            if not self._listeners[run_id]:
                del self._listeners[run_id]
