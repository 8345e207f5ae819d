"""Rows ``pii_*``: personal data found in the sentences of presidio-research's synthetic set (MIT), which nothing was
trained on.

A marked value counts as found if findings of a kind that fits its type cover at least half of its letters and digits. A
finding counts as right if marked values of a type that fits its kind cover at least half of its own. ``pii_masked`` is
stricter: the share of the marked letters and digits that findings of any kind cover.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.evals.confidence_interval import wilson
from bench.archives import read_text
from bench.errors import BenchError
from bench.rows import Row
from guardrails.finders.pattern import Finding, merged
from guardrails.finders.personal import KINDS, personal_finder
from guardrails.rail_entries import PiiEntry

ARCHIVE, FILE = "presidio-synth-v2.tar.xz", "synth_dataset_v2.json"
ANY_DATE = ("date", "birth_date")
ANY_PLACE = ("address", "place", "postal_code")
TYPES = {
    "PERSON": ("person", "title"),
    "STREET_ADDRESS": ANY_PLACE,
    "GPE": (*ANY_PLACE, "nationality"),
    "ORGANIZATION": ("organization",),
    "CREDIT_CARD": ("card",),
    "DATE_TIME": ANY_DATE,
    "TITLE": ("title", "person"),
    "PHONE_NUMBER": ("phone", "local_phone"),
    "AGE": ("age",),
    "NRP": ("nationality", "place"),
    "EMAIL_ADDRESS": ("email",),
    "ZIP_CODE": ANY_PLACE,
    "DOMAIN_NAME": ("domain",),
    "IBAN_CODE": ("iban",),
    "US_SSN": ("us_ssn",),
    "IP_ADDRESS": ("ip",),
    "US_DRIVER_LICENSE": ("document",),
}
"""The set's types, and the kinds of findings that fit each."""
DEFAULT_KINDS = PiiEntry(rail="pii").kinds
WARM = 100
"""Texts that are searched before the time is taken."""


@dataclass(frozen=True)
class Marked:
    """A value that the set marks: characters [start, end) and its type."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Sentence:
    """A text of the set and its marked values."""

    text: str
    values: tuple[Marked, ...]


@dataclass
class Count:
    """Marked values of a type, or findings, and how many of them are found, or right."""

    all: int = 0
    hits: int = 0

    def add(self, hit: bool) -> None:
        self.all += 1
        self.hits += hit


@dataclass(frozen=True)
class Score:
    """Counts by type (``found``) and by kind (``right``), and of all marked characters (``masked``)."""

    found: dict[str, Count]
    right: dict[str, Count]
    masked: Count


async def personal_data(data: Path) -> list[Row]:
    """Recall and precision over all types, and the recall of each. Raises BenchError: the set can't be read."""
    sentences = read(data)
    finder = personal_finder(KINDS)
    seconds, findings = [], []
    for sentence in sentences:
        began = time.perf_counter()
        findings.append(merged(finder.find(sentence.text)))
        seconds.append(time.perf_counter() - began)
    score = judged(sentences, findings)
    types = sorted(score.found, key=lambda one: -score.found[one].all)
    return [
        _row("pii_recall", score.found.values(), f"types: {', '.join(types)}"),
        _row("pii_precision", score.right.values(), f"kinds: {', '.join(sorted(score.right))}"),
        _row("pii_masked", [score.masked], "letters and digits of marked values"),
        *(_row(f"pii_recall_{one.lower()}", [score.found[one]]) for one in types),
        *(_row(f"pii_precision_{one}", [score.right[one]]) for one in sorted(score.right)),
        Row("pii_p99_ms", 1000 * statistics.quantiles(seconds[WARM:], n=100)[98], "ms", higher_is_better=False),
    ]


async def ordinary_texts(data: Path) -> list[Row]:
    """Rows ``pii_ordinary_*``: ordinary texts with findings. Prompts may hold names of people and places, and those are
    no mistakes; requests of customers hold none. Raises BenchError: a set can't be read."""
    prompts = [str(one["prompt"]) for one in json.loads(read_text(data, "wildguard-benign.tar.xz", "wildguard.json"))]
    requests = csv.DictReader(
        io.StringIO(
            read_text(data, "bitext-support-intents.tar.xz", "Bitext_Sample_Customer_Service_Testing_Dataset.csv")
        )
    )
    said = [row["utterance"] for row in requests]
    sets = {"prompts": (prompts, "971 prompts of WildGuard"), "requests": (said, "requests of Bitext")}
    return [
        _flagged(f"pii_ordinary_{name}_{kinds}", texts, wanted, note)
        for name, (texts, note) in sets.items()
        for kinds, wanted in (("default", DEFAULT_KINDS), ("all", KINDS))
    ]


def _flagged(name: str, texts: Sequence[str], kinds: tuple[str, ...], note: str) -> Row:
    finder = personal_finder(kinds)
    share = sum(bool(finder.find(text)) for text in texts) / len(texts)
    return Row(
        name, share, "share", higher_is_better=False, interval=wilson(share, len(texts)), cases=len(texts), note=note
    )


def read(data: Path) -> list[Sentence]:
    """The set's sentences, from its archive or its unpacked file. Raises BenchError."""
    text = read_text(data, ARCHIVE, FILE)
    try:
        return [_sentence(one) for one in json.loads(text)]
    except (KeyError, ValueError) as error:
        raise BenchError(f"{FILE} is not as expected: {error}") from None


def judged(sentences: Sequence[Sentence], findings: Sequence[Sequence[Finding]]) -> Score:
    """Compares findings, which don't overlap, with the marked values."""
    score = Score({}, {}, Count())
    for sentence, found in zip(sentences, findings, strict=True):
        for value in sentence.values:
            fitting = [one for one in found if one.label in TYPES[value.type]]
            hit = _covered(sentence.text, value, fitting) >= 0.5
            score.found.setdefault(value.type, Count()).add(hit)
            letters = _letters(sentence.text, value.start, value.end)
            score.masked.all += len(letters)
            score.masked.hits += sum(any(one.start <= at < one.end for one in found) for at in letters)
        for one in found:
            right = [value for value in sentence.values if one.label in TYPES[value.type]]
            score.right.setdefault(one.label, Count()).add(_covered(sentence.text, one, right) >= 0.5)
    return score


def _covered(text: str, span: Marked | Finding, by: Sequence[Marked | Finding]) -> float:
    """Share of a span's letters and digits that others cover."""
    letters = _letters(text, span.start, span.end)
    return sum(any(one.start <= at < one.end for one in by) for at in letters) / max(1, len(letters))


def _letters(text: str, start: int, end: int) -> list[int]:
    return [at for at in range(start, end) if text[at].isalnum()]


def _row(name: str, counts: Iterable[Count], note: str | None = None) -> Row:
    counts = [*counts]
    hits, of = sum(one.hits for one in counts), sum(one.all for one in counts)
    share = hits / max(1, of)
    return Row(name, share, "share", interval=wilson(share, of), cases=of, note=note)


def _sentence(one: dict[str, object]) -> Sentence:
    spans = one["spans"]
    assert isinstance(spans, list)
    values = [Marked(span["start_position"], span["end_position"], span["entity_type"]) for span in spans]
    return Sentence(str(one["full_text"]), tuple(values))
