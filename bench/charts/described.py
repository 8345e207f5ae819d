"""Has a platform describe drawn charts, and measures how much of it is true and how long it takes."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from rich.console import Console

from agent.evals.confidence_interval import wilson
from bench.charts.claims import claims_right
from bench.charts.run import KINDS, libraries
from bench.charts.specimen import Specimen
from bench.platform import Platform
from bench.rows import Row, median_row
from flightloop import Flightloop
from flightloop.predictions import Prediction

QUESTIONS = ("What does the chart show?", "Which value is the largest, and which is the smallest?", "")
Predict = Callable[[str, bytes], Prediction]
"""Answers a question about an image."""
Draw = Callable[[Specimen], bytes]
Kinds = Mapping[str, Callable[..., Specimen]]


@dataclass
class Descriptions:
    """What was found in descriptions so far."""

    right: list[bool] = field(default_factory=list)
    """For each claim, whether it is true."""
    seconds: list[float] = field(default_factory=list)
    by_model: int = 0
    unread: int = 0
    """Images that were not read as charts, so that their descriptions are of no values."""

    def rows(self) -> list[Row]:
        """``claims_supported``, and ``predict_p50_s`` if there are several descriptions."""
        count = len(self.right)
        share = sum(self.right) / count if count else 0.0
        read = len(self.seconds) - self.unread
        note = f"{read} charts, {self.by_model} of them described by the model; {self.unread} others were not read"
        interval = wilson(share, count) if count else None
        supported = Row("claims_supported", share, "share", note=note, interval=interval, cases=count)
        return [supported, median_row("predict_p50_s", self.seconds, "s", higher_is_better=False)]


def measure(console: Console, port: int, seed: str, charts: int) -> list[Row]:
    """Rows about descriptions by the embedded model, or by that of ``FLIGHTLOOP_MODEL_URL``, of a started platform.

    Raises:
        PlatformFailed: the platform did not start.
    """
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder, ExitStack() as stack:
        draws = libraries(console, stack)
        status = stack.enter_context(console.status("starting"))

        def told(what: str, seconds: float) -> None:
            status.update(f"{what} … {seconds:.0f} s")

        # Only the embedded model needs Ray.
        command = "serve" if os.environ.get("FLIGHTLOOP_MODEL_URL") else "up"
        options = () if command == "serve" else ("--no-console", "--no-prometheus")
        platform = stack.enter_context(Platform(Path(folder), port, options, progress=told, command=command))
        status.stop()
        client = stack.enter_context(Flightloop(base_url=platform.url, api_key=platform.key))
        return descriptions(console, client.predict, draws, seed, charts).rows()


def descriptions(
    console: Console, predict: Predict, draws: Mapping[str, Draw], seed: str, charts: int, kinds: Kinds = KINDS
) -> Descriptions:
    """Has ``charts`` charts described, of all kinds and libraries in turn.

    Their texts are English, because the check of claims knows no other words.
    """
    found = Descriptions()
    turns = list(product(kinds, draws))
    for number in range(charts):
        kind, library = turns[number % len(turns)]
        console.print(f"{number + 1} of {charts}: {kind} by {library} ...")
        rng = random.Random(f"{seed} described {kind} {library} {number}")
        specimen = kinds[kind](rng, chinese=False)
        image = draws[library](specimen)
        began = time.perf_counter()
        prediction = predict(rng.choice(QUESTIONS), image)
        found.seconds.append(time.perf_counter() - began)
        _add(found, specimen, prediction)
    return found


def _add(found: Descriptions, specimen: Specimen, prediction: Prediction) -> None:
    reading = prediction.readings[0] if prediction.readings else None
    if reading is None or reading.kind != "chart":
        found.unread += 1
        return
    found.by_model += prediction.described_by == "model"
    found.right += claims_right(prediction.description, specimen, reading)
