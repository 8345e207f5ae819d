"""Rows of intent classification: the model chooses one of several labels, as JSON."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model.tuner.data.row import Row, row, said

LEAST, MOST = 8, 20


def intent_row(
    source: str,
    text: str,
    label: str,
    labels: Sequence[str],
    about: str,
    draw: random.Random,
    always: str | None = None,
) -> Row:
    """A row with a request, 8 to 20 labels to choose from, and the right label as the answer.

    Args:
        source: name of the set.
        text: the user's request.
        label: the right label.
        labels: all labels of the set.
        about: the question that the label answers.
        draw: chooses the other labels.
        always: a label that every row offers.
    """
    chosen = {label} if always is None else {label, always}
    others = [each for each in labels if each not in chosen]
    wanted = draw.randint(LEAST, MOST) - len(chosen)
    offered = [*sorted(chosen), *draw.sample(others, min(len(others), max(0, wanted)))]
    draw.shuffle(offered)
    messages = [said("user", text), said("assistant", json.dumps({"intent": label}))]
    return row(source, messages, intent=label, response_format=response_format(offered, about))


def response_format(labels: Sequence[str], about: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"intent": {"type": "string", "enum": list(labels)}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "intent", "description": about, "schema": schema}}


def records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and fields of each record of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, record in enumerate(csv.DictReader(file), 2):
            yield f"{path.name}, record {number}", record
