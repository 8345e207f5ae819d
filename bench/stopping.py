"""``python -m bench stopping`` measures how soon an answer ends after an emergency stop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.platform import Platform, PlatformFailed
from bench.rows import Row, median_row
from bench.streams import Answer
from flightloop import Flightloop

REPETITIONS = 5
TOKENS = 500
BEFORE = 20
"""Pieces of the answer to read before the signal is sent."""
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Stopped:
    """A stopped answer: tokens after sending the signal and after its acknowledgement; milliseconds from sending the
    signal to its acknowledgement, to the last token, and to the stream's end."""

    after_signal: int
    after_acknowledgement: int
    acknowledged_ms: float
    last_token_ms: float
    ended_ms: float


def measure(console: Console, port: int) -> list[Row]:
    """Starts a platform, stops answers with ``POST /v1/interrupts`` like the CLI, and stops the platform.

    Raises:
        PlatformFailed: the platform did not start, or an answer was not stopped.
    """
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting") as status,
        Platform(Path(folder), port, ("--no-console", "--no-prometheus")) as platform,
        Flightloop(platform.url, platform.key) as client,
    ):
        [card] = client.models.list().data
        stopped = []
        for repetition in range(REPETITIONS):
            status.update(f"answer {repetition + 1} of {REPETITIONS}")
            stopped.append(stop_one(client, card.id))
    return rows(stopped)


def stop_one(client: Flightloop, model: str) -> Stopped:
    """Starts a long answer, raises a stop in the middle, and clears it.

    Raises:
        PlatformFailed: the answer ended by itself, or not at all.
    """
    answer = Answer(client, model, TOKENS)
    answer.wait_for(BEFORE, TIMEOUT_S)
    sent = time.time()
    interrupt = client.interrupts.create(reason="measurement")
    acknowledged = time.time()
    try:
        answer.wait(TIMEOUT_S)
    finally:
        ended = time.time()
        client.interrupts.clear(interrupt.id)
    if not answer.interrupted:
        raise PlatformFailed(f"the answer was not stopped; it ended with: {answer.error or 'its natural end'}")
    return Stopped(
        after_signal=answer.after(sent),
        after_acknowledgement=answer.after(acknowledged),
        acknowledged_ms=(acknowledged - sent) * 1000,
        last_token_ms=max(answer.arrivals[-1] - sent, 0.0) * 1000,
        ended_ms=(ended - sent) * 1000,
    )


def rows(stopped: Sequence[Stopped]) -> list[Row]:
    """Median and maximum of each figure; less is better."""
    figures = {
        "stopping_tokens_after_signal": ([float(one.after_signal) for one in stopped], "tokens"),
        "stopping_tokens_after_acknowledgement": ([float(one.after_acknowledgement) for one in stopped], "tokens"),
        "stopping_acknowledged_ms": ([one.acknowledged_ms for one in stopped], "ms"),
        "stopping_last_token_ms": ([one.last_token_ms for one in stopped], "ms"),
        "stopping_end_ms": ([one.ended_ms for one in stopped], "ms"),
    }
    made = []
    for name, (values, unit) in figures.items():
        made.append(median_row(name, values, unit, higher_is_better=False))
        made.append(Row(f"{name}_max", max(values), unit, higher_is_better=False))
    return made
