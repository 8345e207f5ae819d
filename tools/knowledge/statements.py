"""Checks numbers in a text against the graph: each must be a value of the product or rule that it is about.

A number with a unit is compared with the attributes of the product that its sentence names, or with the rule that
shares most of its sentence's words. Numbers about which the graph knows nothing are left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

from tools.knowledge.builder import clauses
from tools.knowledge.graph import Kind, KnowledgeGraph, Node, Relation
from tools.knowledge.names import Mention, Names, blanked
from tools.knowledge.quantities import MONTH, Measure, Quantity, quantities
from tools.knowledge.words import NUMBER_WORDS, sentences, words

SENTENCE, AROUND = 0.5, 0.25
"""Weights of words in the same sentence (for a rule, also in its heading) and of words before it; words in the
number's own clause have weight 1."""
LEAST = 0.45
"""Minimum share of the words' weights that a rule must match to be on the same subject."""
NEAR = 0.8
"""Rules with at least this share of the best score count as equally good."""

_ATTRIBUTES = {
    Measure.MONEY: Relation.COSTS,
    Measure.STOCK: Relation.HAS_STOCK,
    Measure.TIME: Relation.HAS_WARRANTY,
}
_OTHER_MONEY = re.compile(
    r"\b(?:refund|paid|pay|total|order|shipp|deliver|back|discount|off\b|point|over\b|"
    r"more than|less than|up to|gift card)",
    re.IGNORECASE,
)
_WARRANTY = re.compile(r"\b(?:warrant|guarant)", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not|never|no longer|instead of|rather than)(?:\s+\w+){0,2}\s*$|n't\s*$", re.IGNORECASE)
_AGREES = re.compile(r"\s*(?:yes|yeah|sure|correct|right|exactly|indeed|certainly)\b", re.IGNORECASE)
_UNTOLD = frozenset(
    words(
        "eur euro euros percent minute hour day working weekday week month year piece many much something please would "
        "like get know tell just need want also about"
    )
) | frozenset(NUMBER_WORDS)


@dataclass(frozen=True)
class Statement:
    """A number at characters [start, end) of a text, and what the graph knows about it.

    ``numbers`` are as written; ``fact`` includes its source. ``strict``: wrong even if the user gave these numbers.
    """

    start: int
    end: int
    numbers: tuple[float, ...]
    right: bool
    strict: bool
    fact: str


@dataclass(frozen=True)
class _Judged:
    right: bool
    fact: str


@dataclass(frozen=True)
class _Said:
    """A sentence, with the words before it, the products that it names, and those mentioned before."""

    text: str
    around: str
    named: Sequence[Mention]
    spoken_of: Sequence[Node]

    @cached_property
    def plain(self) -> str:
        """The text with product names blanked out, so that numbers in them don't count (Puzzle 1000 Pieces)."""
        return blanked(self.text, self.named)

    def of_warranty(self, period: Quantity) -> bool:
        """Whether a period is a warranty: its sentence mentions one, or it is long and the text before mentions one."""
        long = min(period.values) >= MONTH
        return bool(_WARRANTY.search(self.text) or (long and _WARRANTY.search(self.around)))


@dataclass(frozen=True)
class _Amount:
    """A number of a rule, the weights of the words that refer to it, and the names in its clause."""

    node: Node
    rule: Node
    weights: Mapping[str, float]
    named: frozenset[str]


class Reader:
    """Checks the numbers that answers state."""

    def __init__(self, graph: KnowledgeGraph, names: Names) -> None:
        self._graph = graph
        self._names = names
        rules = graph.nodes(Kind.RULE)
        self._amounts = [
            _Amount(
                amount,
                rule,
                _weighed((SENTENCE, f"{rule.source} {section.text}"), (1.0, amount.text)),
                self._named(amount.text),
            )
            for section in graph.nodes(Kind.SECTION)
            for rule in graph.after(section, Relation.STATES)
            for amount in graph.after(rule, Relation.SETS)
        ]
        spread = Counter(word for rule in rules for word in set(words(f"{rule.source} {rule.text}")))
        self._rarity = {word: math.log(1 + len(rules) / times) for word, times in spread.items()}
        self._unknown = math.log(1 + len(rules)) / 2

    def repriced(self, graph: KnowledgeGraph) -> Reader:
        """This reader with a graph that differs only in products' prices and stocks."""
        other = copy(self)
        other._graph = graph
        return other

    def read(self, text: str, asked: str = "") -> list[Statement]:
        """Numbers in ``text`` that the graph knows something about, in order.

        Args:
            asked: the question that the text answers; "it" in the text may refer to a product in the question.
        """
        found: list[Statement] = []
        spoken_of, around = self._names.nodes(asked, Kind.PRODUCT), asked
        agrees = bool(_AGREES.match(text))
        for start, sentence in sentences(text):
            said = _Said(sentence, around, self._names.find(sentence, Kind.PRODUCT), spoken_of)
            found += (replace(one, start=start + one.start, end=start + one.end) for one in self._read(said, agrees))
            spoken_of = [node for mention in said.named for node in mention.nodes] or spoken_of
            around = f"{asked} {sentence}"
        return sorted(found, key=lambda one: one.start)

    def _read(self, said: _Said, agrees: bool) -> Iterator[Statement]:
        for mention in said.named:
            name = said.text[mention.start : mention.end]
            if numbers := tuple(float(digits) for digits in re.findall(r"\d+", name)):
                yield Statement(mention.start, mention.end, numbers, True, False, f"{name} ({mention.nodes[0].source})")
        for begin, clause in clauses(said.plain):
            for one in quantities(clause):
                if _DENIED.search(clause[: one.start]):
                    continue
                placed = replace(one, start=begin + one.start, end=begin + one.end)
                of_product = self._of_product(placed, clause, said)
                judged = of_product or self._of_rule(placed, clause, said)
                if judged is not None:
                    strict = not judged.right and (agrees or judged is of_product)
                    yield Statement(placed.start, placed.end, one.numbers, judged.right, strict, judged.fact)

    def _of_product(self, one: Quantity, clause: str, said: _Said) -> _Judged | None:
        """Checks a number against attributes of the products that it is about; None if no attribute has its measure."""
        relation = _ATTRIBUTES.get(one.measure)
        if relation is None or (one.measure is Measure.TIME and not said.of_warranty(one)):
            return None
        products = _nearest(one, said) or said.spoken_of
        pairs = [(node, attribute) for node in products for attribute in self._graph.after(node, relation)]
        if not pairs:
            return None
        right = next((pair for pair in pairs if one.agrees(pair[1].values)), None)
        if right is None and one.measure is Measure.MONEY and _OTHER_MONEY.search(clause):
            return None  # an order's total or a fee, not the product's price
        node, attribute = right or pairs[0]
        none = relation is Relation.HAS_WARRANTY and attribute.name.startswith("0 ")
        fact = f"{node.name} has no warranty" if none else f"{node.name} {relation} {attribute.name}"
        return _Judged(right is not None, f"{fact} ({node.source})")

    def _of_rule(self, one: Quantity, clause: str, said: _Said) -> _Judged | None:
        """Checks a number against the rules on the same subject; None if there are none."""
        weights = _weighed((AROUND, said.around), (SENTENCE, said.plain), (1.0, clause))
        scores = [
            (self._shared(weights, amount), amount) for amount in self._amounts if amount.node.measure is one.measure
        ]
        named = self._named(clause)
        if any(score >= LEAST and named & amount.named for score, amount in scores):
            scores = [(score, amount) for score, amount in scores if named & amount.named]  # not Monday's for Saturday
        best, _ = max(scores, key=lambda pair: pair[0], default=(0.0, None))
        if best < LEAST:
            return None
        near = [amount for score, amount in scores if score >= NEAR * best]
        right = next((amount for amount in near if one.agrees(self._allowed(amount))), None)
        shown = right or next(amount for score, amount in scores if score == best)
        return _Judged(right is not None, f"{shown.rule.text} ({shown.rule.source})")

    def _named(self, text: str) -> frozenset[str]:
        return frozenset(node.id for node in self._names.nodes(text, Kind.CATEGORY, Kind.TERM))

    def _allowed(self, amount: _Amount) -> tuple[float, ...]:
        """All values in an amount's clause with the same measure: "from 8:00 to 18:00" allows both."""
        beside = self._graph.after(amount.rule, Relation.SETS)
        return tuple(
            value
            for node in beside
            if (node.text, node.measure) == (amount.node.text, amount.node.measure)
            for value in node.values
        )

    def _shared(self, said: Mapping[str, float], amount: _Amount) -> float:
        total = shared = 0.0
        for word, weight in said.items():
            if weight <= AROUND and word not in amount.weights:
                continue  # earlier words may help, but need not match
            rarity = self._rarity.get(word, self._unknown)
            total += weight * rarity
            shared += weight * rarity * amount.weights.get(word, 0.0)
        return shared / total if total else 0.0


def _weighed(*parts: tuple[float, str]) -> dict[str, float]:
    """Words with their weights; for a word in several parts, the last part's weight."""
    return {
        word: weight
        for weight, text in parts
        for word in words(text)
        if word not in _UNTOLD and not word.isdigit() and word != "?"
    }


def _nearest(one: Quantity, said: _Said) -> list[Node]:
    """Products that a number is about: those named together directly before it, otherwise the next one named.

    If a number of its kind precedes all names ("5 EUR for the lamp and 7 EUR for the rug"), always the next one named.
    """
    others = [other for other in quantities(said.plain) if other.measure is one.measure]
    before = [mention for mention in said.named if mention.end <= one.start]
    after = [mention for mention in said.named if mention.start >= one.end]
    number_first = bool(said.named and others) and others[0].start < said.named[0].start
    if not before or (number_first and after):
        return list(after[0].nodes) if after else []
    since = max((other.end for other in others if other.end <= before[-1].start), default=0)
    return [node for mention in before if mention.start >= since for node in mention.nodes]
