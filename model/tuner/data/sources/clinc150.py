"""CLINC150: requests to an assistant, with 150 intents and "out of scope", which every row offers.

Source: Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction" (2019). File:
``data/data_full.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from model.tuner.data.row import Bad, Row
from model.tuner.data.sources.intents import intent_row
from model.tuner.data.sources.plan import Plan, Source

ABOUT = "What does the user want?"
OUTSIDE = "out_of_scope"


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    path = folder / "data" / "data_full.json"
    sets = json.loads(path.read_text(encoding="utf-8"))
    labels = sorted({label for _, label in sets["train"]})
    for part in (plan.split, f"oos_{plan.split}"):
        for number, (text, label) in enumerate(sets[part], 1):
            place = f"{path.name}, {part} {number}"
            if not text.strip():
                yield Bad(place, "no text")
                continue
            meant = OUTSIDE if label == "oos" else label
            yield intent_row("clinc150", text, meant, labels, ABOUT, plan.draw(f"clinc150:{place}"), always=OUTSIDE)


SOURCE = Source(("train", "val", "test"), rows)
