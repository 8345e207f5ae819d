"""Public sets of claims with the knowledge that they are held against.

Sources: HaluEval's answers of ChatGPT (Li et al., arXiv 2305.11747), BEGIN (Dziri et al., arXiv 2105.00071), and the
annotated answers of Q² (Honovich et al., arXiv 2104.08202).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from model.probes.archives import lines_of, rows_of
from model.probes.texts import NONE, UNSUPPORTED, Text

EACH = 200
"""Supported claims of a set, and as many others."""
MOST_EVIDENCE = 1600
"""Characters of the longest knowledge that is read."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
Pairs = dict[str, set[tuple[str, str]]]
"""Claims with their evidence, by label."""
_BEGIN = {"cmu-dog": "cmu", "topicalchat": "tc", "wow": "wow"}


def halueval(data: Path, chance: random.Random) -> Iterator[Text]:
    """Sentences of answers that were marked as hallucinated, and of answers without any.

    The set has no records: a sentence is held against the user's request.
    """
    pairs: Pairs = {NONE: set(), UNSUPPORTED: set()}
    for line in lines_of(data, "halueval-general", "data/general_data.json"):
        row = json.loads(line)
        marked = row["hallucination"] == "yes"
        parts = row["hallucination_spans"] if marked else [row["chatgpt_response"]]
        sentences = [one.strip() for part in parts for one in _SENTENCE.split(part) if 25 <= len(one.strip()) <= 300]
        if sentences:
            pairs[UNSUPPORTED if marked else NONE].add((chance.choice(sentences), row["user_query"]))
    yield from _sampled("halueval", pairs, chance)


def begin(data: Path, chance: random.Random) -> Iterator[Text]:
    """Answers in dialogues on given knowledge: fully attributable to it or not. Generic ones are left out."""
    labels = {"Fully attributable": NONE, "Not fully attributable": UNSUPPORTED}
    pairs: Pairs = {NONE: set(), UNSUPPORTED: set()}
    for folder, name in _BEGIN.items():
        for row in rows_of(data, "begin-dev", f"{folder}/begin_dev_{name}.tsv", tabs=True):
            if row["begin_label"] in labels:
                pairs[labels[row["begin_label"]]].add((row["response"], row["knowledge"]))
    yield from _sampled("begin", pairs, chance)


def q2(data: Path, chance: random.Random) -> Iterator[Text]:
    """Answers of two models in dialogues on a sentence of Wikipedia: consistent with it or not."""
    pairs: Pairs = {NONE: set(), UNSUPPORTED: set()}
    for row in rows_of(data, "q2", "third_party/data/cross_annotation.csv"):
        for model in ("dodeca", "memnet"):
            label = UNSUPPORTED if row[f"{model}_label"] == "1" else NONE
            pairs[label].add((row[f"{model}_response"], row["knowledge"]))
    yield from _sampled("q2", pairs, chance)


def _sampled(source: str, pairs: Pairs, chance: random.Random) -> Iterator[Text]:
    for label, found in pairs.items():
        fit = sorted(pair for pair in found if len(pair[1]) <= MOST_EVIDENCE)
        for claim, evidence in chance.sample(fit, min(EACH, len(fit))):
            yield Text(source, "support", label, claim, "claim", evidence=evidence)
