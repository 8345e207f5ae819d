"""Trains the content classifier: logistic regression over hashed n-grams, one output per category.

    python -m guardrails.train_content --davidson labeled_data.csv --toxigen prompts/ --support train.csv --output FILE

``toxicity`` is trained on Davidson et al. (hateful or offensive against neither), ``hate`` on ToxiGen's
prompts (hateful against neutral statements about the same groups) and Davidson's hateful tweets.
Customer-service requests are negatives of both, so that shop language scores low. Prints the AUC on a
held-out tenth of each source and, with ``--across``, on a source left out of training.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from guardrails.rails.content import CATEGORIES
from guardrails.text.ngrams import BUCKETS, features

Floats = npt.NDArray[np.float32]
UNKNOWN = np.nan
"""Label for a category that the source doesn't annotate."""


@dataclass(frozen=True)
class Example:
    source: str
    text: str
    labels: tuple[float, float]
    """toxicity, hate: 0, 1 or unknown."""


def davidson(path: Path) -> list[Example]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = {"0": (1.0, 1.0), "1": (1.0, UNKNOWN), "2": (0.0, 0.0)}
    return [Example("davidson", row["tweet"], labels[row["class"]]) for row in rows]


def toxigen(folder: Path) -> list[Example]:
    examples = {}
    for path in sorted(folder.glob("*_1k.txt")):
        hateful = path.name.startswith("hate")
        for line in path.read_text(encoding="utf-8").splitlines():
            for statement in line.split("\\n"):
                text = statement.strip().removeprefix("- ").strip()
                if len(text) > 10:
                    examples[text] = Example("toxigen", text, (UNKNOWN if hateful else 0.0, float(hateful)))
    return list(examples.values())


def support(path: Path) -> list[Example]:
    with path.open(encoding="utf-8", newline="") as file:
        return [Example("support", row["utterance"], (0.0, 0.0)) for row in csv.DictReader(file)]


def train(examples: Sequence[Example], epochs: int, seed: int) -> tuple[Floats, Floats]:
    """AdaGrad on the logistic loss, one text at a time. Each of a text's n features has the value 1/sqrt(n).

    Returns weights of shape (categories, BUCKETS) and biases of shape (categories,).
    """
    random = np.random.default_rng(seed)
    found = [features(example.text) for example in examples]
    labels = np.array([example.labels for example in examples], dtype=np.float32)
    balance = _balance(labels)
    weights = np.zeros((len(CATEGORIES), BUCKETS), dtype=np.float32)
    biases = np.zeros(len(CATEGORIES), dtype=np.float32)
    history = np.full((len(CATEGORIES), BUCKETS), 1e-2, dtype=np.float32)
    for epoch in range(epochs):
        loss = 0.0
        for index in random.permutation(len(examples)):
            columns = found[index]
            scale = np.float32(1 / np.sqrt(max(1, len(columns))))
            for row in np.flatnonzero(~np.isnan(labels[index])):
                label = labels[index, row]
                score = 1 / (1 + np.exp(-(weights[row, columns].sum() * scale + biases[row])))
                loss -= float(np.log(max(1e-7, score if label else 1 - score)))
                gradient = (score - label) * balance[row, int(label)]
                slope = gradient * scale + 2e-5 * weights[row, columns]
                history[row, columns] += slope * slope
                weights[row, columns] -= 0.1 * slope / np.sqrt(history[row, columns])
                biases[row] -= 0.01 * gradient
        print(f"epoch {epoch + 1}/{epochs}: mean loss {loss / len(examples):.4f}", file=sys.stderr)
    return weights, biases


def _balance(labels: Floats) -> Floats:
    ones, zeros = (labels == 1).sum(0), (labels == 0).sum(0)
    total = np.maximum(1, ones + zeros)
    balance: Floats = np.stack([total / np.maximum(1, 2 * zeros), total / np.maximum(1, 2 * ones)], 1).astype(
        np.float32
    )
    return balance


def scores(texts: Sequence[str], weights: Floats, biases: Floats, row: int) -> Floats:
    found = [features(text) for text in texts]
    return np.array(
        [weights[row, columns].sum() / np.sqrt(max(1, len(columns))) + biases[row] for columns in found],
        dtype=np.float32,
    )


def auc(positive: Floats, negative: Floats) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    values = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(wins / (len(positive) * len(negative)))


def quantised(weights: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """int8 weights and one scale per category. Weights beyond the 99.99th percentile are clipped."""
    scale = np.array([np.quantile(np.abs(row[row != 0]), 0.9999) / 127 for row in weights], dtype=np.float32)
    return np.clip(np.rint(weights / scale[:, None]), -127, 127).astype(np.int8), scale


def report(examples: Sequence[Example], weights: Floats, biases: Floats) -> None:
    """Prints how well each score separates each label within each source."""
    for source in sorted({example.source for example in examples}):
        mine = [example for example in examples if example.source == source]
        labels = np.array([example.labels for example in mine])
        for row, category in enumerate(CATEGORIES):
            result = scores([example.text for example in mine], weights, biases, row)
            for column, label in enumerate(CATEGORIES):
                yes, no = result[labels[:, column] == 1], result[labels[:, column] == 0]
                if len(yes) and len(no):
                    print(f"{source} ({len(yes)}/{len(no)}): score {category}, label {label}: AUC {auc(yes, no):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davidson", type=Path, required=True)
    parser.add_argument("--toxigen", type=Path, required=True)
    parser.add_argument("--support", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--across", choices=["davidson", "toxigen"], help="train without this source, test on it")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    everything = [*davidson(options.davidson), *toxigen(options.toxigen), *support(options.support)]
    held_out = random.random(len(everything)) < 0.1
    train_on = [item for item, out in zip(everything, held_out, strict=True) if not out]
    test_on = [item for item, out in zip(everything, held_out, strict=True) if out]
    if options.across:
        train_on = [item for item in everything if item.source != options.across]
        test_on = [item for item in everything if item.source == options.across]
    weights, biases = train(train_on, options.epochs, options.seed)
    small, scale = quantised(weights)
    report(test_on, small * scale[:, None], biases)
    if options.output:
        save_file({"weights": small, "scale": scale, "bias": biases}, options.output)


if __name__ == "__main__":
    main()
