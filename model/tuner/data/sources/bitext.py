"""Bitext's customer support intents: short requests, 27 intents.

Source: github.com/bitext/customer-support-intent-detection-training-dataset. Files: ``data/SPLIT/*.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model.tuner.data.row import Bad, Row
from model.tuner.data.sources.intents import intent_row, records
from model.tuner.data.sources.plan import Plan, Source

ABOUT = "What does the customer want?"


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    found = [each for path in sorted((folder / "data" / plan.split).glob("*.csv")) for each in records(path)]
    if not found:
        raise FileNotFoundError(f"no CSV file in {folder / 'data' / plan.split}")
    labels = sorted({record["intent"] for _, record in found if record["intent"]})
    for place, record in found:
        if not record["intent"] or not record["utterance"].strip():
            yield Bad(place, "no utterance or no intent")
            continue
        draw = plan.draw(f"bitext:{place}")
        yield intent_row("bitext", record["utterance"], record["intent"], labels, ABOUT, draw)


SOURCE = Source(("train", "dev", "test"), rows)
