"""BANKING77: questions to a bank, 77 intents.

Source: Casanueva et al., "Efficient Intent Detection with Dual Sentence Encoders" (2020). Files:
``banking_data/SPLIT.csv`` and ``categories.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from model.tuner.data.row import Bad, Row
from model.tuner.data.sources.intents import intent_row, records
from model.tuner.data.sources.plan import Plan, Source

ABOUT = "What is the customer's question about?"


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    base = folder / "banking_data"
    labels = sorted(json.loads((base / "categories.json").read_text(encoding="utf-8")))
    for place, record in records(base / f"{plan.split}.csv"):
        if record["category"] not in labels or not record["text"].strip():
            yield Bad(place, "no text, or a category that is not among the set's")
            continue
        draw = plan.draw(f"banking77:{place}")
        yield intent_row("banking77", record["text"], record["category"], labels, ABOUT, draw)


SOURCE = Source(("train", "test"), rows)
