"""Detects instructions to the model: rules over windows of normalised text.

The rules follow the published families of attacks and were not tuned on any test set. They are one
barrier of several: a hit in a tool result taints the run, and the structural rules on writes,
argument origins and egress apply whether or not a rule hits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regex
import yaml

from flightloop.verdicts import Action, Span, Stage, Verdict
from guardrails.aside import aside
from guardrails.rail_entries import InjectionEntry
from guardrails.rails.detector import MOST_SPANS
from guardrails.text.disguises import hidden_texts, plain_letters, rewritings, without_marks
from guardrails.text.normalise import normalise, unescaped
from guardrails.text.spelling import FORMULAS, most_characters
from guardrails.types import Checked, Judgement, Rail

RULES_PATH = Path(__file__).with_name("injection.yaml")
WINDOW = 600
"""Window in which hits add up, in characters."""


@dataclass(frozen=True)
class Rule:
    """``weight``: confidence of a single hit, 0..1. ``results_only``: applies to tool results only."""

    label: str
    weight: float
    pattern: regex.Pattern[str]
    results_only: bool = False


@cache
def rules() -> tuple[Rule, ...]:
    """The rules of ``injection.yaml``."""
    document = _document()
    loaded = []
    for entry in document["rules"]:
        others = {name: value for name, value in entry.items() if name != "expression"}
        expression = _filled(entry["expression"], document["words"])
        loaded.append(Rule(pattern=regex.compile(expression, regex.IGNORECASE), **others))
    return tuple(loaded)


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(RULES_PATH.read_text(encoding="utf-8"))
    return document


def _filled(expression: str, words: dict[str, str]) -> str:
    for name, alternatives in words.items():
        expression = expression.replace(f"%{name}%", alternatives)
    return expression


_FORMULAS = dict.fromkeys(map(ord, FORMULAS), " ")
_WRAP = regex.compile(r"(?<=\S) ?\n ?(?=\S)")
_BLANKS = regex.compile(r"[^\S\n]+")
_BETWEEN = regex.compile(r"[ .*_-]")
# Not possessive: then "a-a-…-" would be searched anew from each letter.
_SPACED = regex.compile(r"(?<!\w)(?:[^\W_][ .*_-]){5,}[^\W_](?!\w)")
_NO_LETTERS = regex.compile(r"[^a-z]+")
_STEMS = (
    "ignore", "disregard", "forget", "override", "bypass", "instruction", "guideline", "previous", "system prompt",
    "unrestricted", "developer mode", "jailbreak",
)  # fmt: skip
"""Words of which a rewritten text must have two before the rules are tried on it."""
_FILLERS = "(?:all|any|every|everything|of|the|your|my|our|these|those|this|me|us|full|whole|entire|exact)*+"


def folded(text: str) -> str:
    """Normal form for matching: no escapes, look-alike letters as ASCII, single blanks, s p a c e d letters joined."""
    text = plain_letters(normalise(without_marks(unescaped(text))).translate(_FORMULAS))
    text = _BLANKS.sub(" ", text)
    return _SPACED.sub(lambda match: _BETWEEN.sub("", match.group()), text)


def readings(text: str) -> Iterator[str]:
    """The text in its normal form, and what is hidden in it in its normal form."""
    plain = folded(text)
    yield plain
    if "\n" in plain:
        yield _WRAP.sub(" ", plain)  # a sentence may span several lines
    inner = [folded(one) for one in hidden_texts(text)]
    yield from inner
    for one in (plain, *inner):
        yield from filter(_suspicious, rewritings(one))
        yield from _rejoined(one)


@cache
def _sentences() -> tuple[regex.Pattern[str], ...]:
    """Sentences of attacks without their blanks, for texts whose words are broken."""
    orders = (
        f"(%DROP%){_FILLERS}(%BEFORE%)+(%RULES%)",
        f"(%TELL%){_FILLERS}(system|hidden|secret|developer|initial|original)(prompt|message|instructions?)",
    )
    return tuple(regex.compile(_filled(order, _document()["words"])) for order in orders)


def _rejoined(text: str) -> Iterator[str]:
    """Sentences of attacks in a text whose words are broken, as whole words: ``ig-nore all prev ious rules``."""
    lower = text.lower()
    letters, words = _NO_LETTERS.sub("", lower), set(_NO_LETTERS.split(lower))
    for sentence in _sentences():
        for match in sentence.finditer(letters):
            found = [match[1], *match.captures(2), match[3]]
            if not words.issuperset(found):
                yield f"{match[1]} your {' '.join(found[1:])}"


def _suspicious(text: str) -> bool:
    lower = text.lower()
    return sum(stem in lower for stem in _STEMS) > 1


@dataclass(frozen=True)
class Hits:
    """Result of a scan."""

    score: float
    labels: tuple[str, ...]
    spans: tuple[Span, ...]
    """Positions in the folded text, which equals the original if nothing had to be folded."""


def scan(text: str, from_tool: bool) -> Hits:
    """Highest injection score of any window of the text. A family of rules counts once, with its largest weight.
    Families combine as 1 - product(1 - weight)."""
    pieces = list(dict.fromkeys(readings(text)))
    found = [
        (piece, rule, match)
        for piece, content in enumerate(pieces)
        for rule in rules()
        if from_tool or not rule.results_only
        for match in rule.pattern.finditer(content)
    ]
    spans = [Span(start=match.start(), end=match.end(), label=rule.label) for piece, rule, match in found if piece == 0]
    spans = spans[:MOST_SPANS]
    return Hits(round(_worst(found), 4), tuple(sorted({rule.label for _, rule, _ in found})), tuple(spans))


def _worst(found: list[tuple[int, Rule, regex.Match[str]]]) -> float:
    """The highest score of the windows that begin with a hit."""
    hits = sorted(((piece, match.start(), rule) for piece, rule, match in found), key=lambda hit: hit[:2])
    worst, end = 0.0, 0
    for begin, (piece, start, _) in enumerate(hits):
        while end < len(hits) and (hits[end][0], hits[end][1]) < (piece, start + WINDOW):
            end += 1
        worst = max(worst, _score(rule for _, _, rule in hits[begin:end]))
    return worst


def _score(rules_hit: Iterable[Rule]) -> float:
    families: dict[str, float] = {}
    for rule in rules_hit:
        families[rule.label] = max(rule.weight, families.get(rule.label, 0.0))
    doubt = 1.0
    for weight in families.values():
        doubt *= 1 - weight
    return 1 - doubt


def injection_rail(entry: InjectionEntry) -> Rail:
    """Taints the run, asks or blocks, depending on the injection score of a text."""

    async def check(checked: Checked) -> Judgement:
        hits = await aside(most_characters(checked.text), scan, checked.text, checked.stage is Stage.TOOL_RESULT)
        untrusted = entry.taint_untrusted and checked.call is not None and checked.call.spec.returns_untrusted
        tainted = untrusted or (entry.taint_at is not None and hits.score >= entry.taint_at)
        action = _action(entry, hits.score)
        labels = [*hits.labels, *(["tainted"] if tainted else [])]
        verdict = Verdict(
            action=action,
            rail="injection",
            stage=checked.stage,
            reason=f"looks like instructions to the model: {', '.join(hits.labels)}" if hits.labels else "",
            spans=list(hits.spans),
            scores={"injection": hits.score},
            labels=labels,
        )
        return Judgement((verdict,), tainted=tainted)

    return check


def _action(entry: InjectionEntry, score: float) -> Action:
    if entry.block_at is not None and score >= entry.block_at:
        return Action.BLOCK
    if entry.ask_at is not None and score >= entry.ask_at:
        return Action.ASK
    return Action.ALLOW
