"""``python -m bench scaling`` measures how soon a second replica of the model starts under load, and ends after it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread

from rich.console import Console

from bench.platform import Platform, PlatformFailed
from bench.rows import Row
from bench.streams import STORY
from flightloop import Flightloop
from flightloop.errors import FlightloopError

STREAMS = 16
"""Two replicas' worth of slots."""
ANSWER_TOKENS = 100
SETTLED_S = 20.0
"""Seconds that the load continues after the second replica has started."""
UP_TIMEOUT_S = 180.0
DOWN_TIMEOUT_S = 240.0
LOOK_S = 0.5
DEPLOYMENT = "Model"


@dataclass
class Load:
    """Results of the streams so far."""

    done: int = 0
    errors: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def ended(self, error: FlightloopError | None) -> None:
        with self.lock:
            self.done += error is None
            self.errors += [] if error is None else [f"{type(error).__name__}: {error}"]


def measure(console: Console, port: int) -> list[Row]:
    """Starts a platform of one or two replicas, puts it under load, lets it idle, and stops it.

    Reads the platform's own gauges, whose update interval of a few seconds adds to both times.

    Raises:
        PlatformFailed: the platform did not start, or did not scale in time.
    """
    environment = {"FLIGHTLOOP_REPLICAS_MIN": "1", "FLIGHTLOOP_REPLICAS_MAX": "2"}
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting") as status,
        Platform(Path(folder), port, ("--no-console", "--no-prometheus"), environment) as platform,
        Flightloop(platform.url, platform.key, retries=0, timeout_s=300.0) as client,
    ):
        watch = Watch(client)
        watch.until(1, UP_TIMEOUT_S, "no replica was reported")
        load = Load()
        with held(client, load):
            status.update(f"{STREAMS} streams, waiting for a second replica")
            up_s = watch.until(2, UP_TIMEOUT_S, "load brought no second replica")
            alone = list(watch.utilisation)
            status.update(f"{STREAMS} streams on two replicas")
            watch.utilisation.clear()
            watch.look_for(SETTLED_S)
            together = list(watch.utilisation)
        status.update("the load has ended, waiting for the second replica to go")
        down_s = watch.until(1, DOWN_TIMEOUT_S, "the second replica stayed")
    for error in sorted(set(load.errors)):
        console.print(f"failed: {error}", style="red", markup=False)
    return [
        Row("scaling_up_seconds", up_s, "s", higher_is_better=False),
        Row("scaling_down_seconds", down_s, "s", higher_is_better=False),
        Row("scaling_requests", load.done, "requests"),
        Row("scaling_errors", len(load.errors), "requests", higher_is_better=False),
        Row("scaling_utilisation_one_replica", statistics.mean(alone), "share", higher_is_better=False),
        Row("scaling_utilisation_two_replicas", statistics.mean(together), "share", higher_is_better=False),
    ]


class Watch:
    """Polls the model's replicas. ``utilisation``: all readings; 1.0 if all slots are taken."""

    def __init__(self, client: Flightloop) -> None:
        self._client = client
        self.utilisation: list[float] = []

    def until(self, replicas: int, timeout_s: float, failure: str) -> float:
        """Waits until this number of replicas runs. Returns the seconds; raises PlatformFailed after ``timeout_s``."""
        began = time.monotonic()
        while self._look() != replicas:
            if time.monotonic() - began > timeout_s:
                raise PlatformFailed(f"{failure} within {timeout_s:.0f} s")
            time.sleep(LOOK_S)
        return time.monotonic() - began

    def look_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()
            time.sleep(LOOK_S)

    def _look(self) -> int:
        overview = self._client.overview()
        for figure in overview.figures("flightloop_system_replica_utilisation_ratio"):
            if figure.labels["deployment"] == DEPLOYMENT and figure.value is not None:
                self.utilisation.append(figure.value)
        running = [
            figure.value or 0
            for figure in overview.figures("flightloop_system_replicas")
            if figure.labels["deployment"] == DEPLOYMENT
        ]
        return round(sum(running))


@contextmanager
def held(client: Flightloop, load: Load) -> Iterator[None]:
    """Holds ``STREAMS`` streams open while the context is open: a finished one is replaced."""
    stop = Event()
    [card] = client.models.list().data

    def stream() -> None:
        while not stop.is_set():
            try:
                for _ in client.chat.completions.create(
                    model=card.id,
                    max_tokens=ANSWER_TOKENS,
                    stream=True,
                    **STORY,
                ):
                    pass
                load.ended(None)
            except FlightloopError as error:
                load.ended(error)

    threads = [Thread(target=stream, name=f"stream-{number}") for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
