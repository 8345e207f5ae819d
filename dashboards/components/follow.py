"""Follows a run's events without blocking the page: a thread reads the stream, and the page polls."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from flightloop import Flightloop
from flightloop.errors import FlightloopError
from flightloop.events import RunEvent

LOOK_EVERY_S = 0.25


def follow(client: Flightloop, run_id: str) -> Iterator[RunEvent | None]:
    """Yields events until the run has ended, and None a few times a second, so that the page can react to its user.

    Raises:
        FlightloopError: the stream could not be read.
    """
    found: queue.SimpleQueue[RunEvent | FlightloopError | RuntimeError | None] = queue.SimpleQueue()
    left = threading.Event()

    def read() -> None:
        try:
            for event in client.runs.stream(run_id):
                found.put(event)
                if left.is_set():
                    return
        except (FlightloopError, RuntimeError) as error:  # a client closed by a logout raises RuntimeError
            found.put(error)
        finally:
            found.put(None)

    threading.Thread(target=read, name=f"follow-{run_id}", daemon=True).start()
    try:
        while True:
            try:
                item = found.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        left.set()
