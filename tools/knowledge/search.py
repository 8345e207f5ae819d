"""Searches passages, and the graph for products and categories that a query names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.knowledge.documents import Passage
from tools.knowledge.graph import Kind, KnowledgeGraph, Node, Relation
from tools.knowledge.index import Translations
from tools.knowledge.names import Names, blanked
from tools.knowledge.words import placed_words, terms

MOST_CARDS, MOST_GOODS = 2, 10
"""Maximum number of lines about products in an answer, and products in a line about a category."""
NEIGHBOUR = 0.75
"""Bonus for a passage related to a product in the query, as a share of the document's best score."""
LEAST = 0.4
"""If a query names a product, passages below this share of the best score are left out."""
CARD_WORDS = frozenset(
    terms("price prices cost costs expensive much stock available availability sell many left buy")
    + terms("价格 多少 少钱 库存 有货")
)
"""Words of questions that a product's own line answers; passages are not searched for them."""


@dataclass(frozen=True)
class Found:
    """A result. ``source``: a document's title, or table and row."""

    source: str
    text: str


class Search:
    """Finds passages, and lines about products and categories that the query names."""

    def __init__(self, graph: KnowledgeGraph, passages: Translations, names: Names) -> None:
        self._graph = graph
        self._passages = passages
        self._names = names

    def find(self, query: str, count: int, asked: str = "") -> list[Found]:
        """At most ``count`` results.

        A query without a product finds passages as BM25 ranks them for it and for the question together and, if these
        are few, a line about the category that it names. A query with a product, or about price or stock, finds the
        lines of the products that the query or the question names first, then passages for the rest of the query;
        those related to a product come before others.

        Args:
            asked: the question behind the query. If the query finds nothing, it is searched instead.
        """
        return self._find(query, count, asked) or self._find(asked, count)

    def _find(self, query: str, count: int, asked: str = "") -> list[Found]:
        products = self._meant(query, asked)[: min(MOST_CARDS, count)]
        if products:
            found = [Found(one.source, self.card(one)) for one in products]
            return [*found, *map(_found, self._beside(query, asked, products, count - len(found)))]
        index, stems = self._passages.of(query), terms(query)
        passages = self._passages.best(query, asked, count) if index.known(stems) else []
        lines = [Found(one.source, self.card(one)) for one in self._names.nodes(query, Kind.CATEGORY)]
        few = sum(score > 0 for score in index.scores(stems)) < count
        room = max(1, count - len(lines)) if few else count
        return [*map(_found, passages[:room]), *lines][:count]

    def card(self, node: Node) -> str:
        """A line about a product or a category."""
        if node.kind is Kind.CATEGORY:
            goods = self._graph.before(node, Relation.IS_OF)
            shown = [f"{one.name} {self._shown(one, Relation.COSTS)}" for one in goods[:MOST_GOODS]]
            more = [f"{len(goods) - MOST_GOODS} more"] if len(goods) > MOST_GOODS else []
            return f"{node.name}: {', '.join([*shown, *more])}"
        warranty = self._shown(node, Relation.HAS_WARRANTY)
        parts = [
            self._shown(node, Relation.COSTS),
            f"{self._shown(node, Relation.HAS_STOCK)} in stock",
            "no warranty" if warranty.startswith("0 ") else f"warranty {warranty}",
            f"category {self._shown(node, Relation.IS_OF)}",
            *(one.name for one in self._graph.after(node, Relation.IS)),
        ]
        return f"{node.name}: {', '.join(parts)}"

    def _shown(self, node: Node, relation: Relation) -> str:
        return self._graph.after(node, relation)[0].name

    def _meant(self, query: str, asked: str) -> list[Node]:
        """Products with their whole name in a query, then those that the question names; if it names none, the
        query's. A small model often writes a part of another product's name."""
        products = self._products(query)
        if not (products or CARD_WORDS.intersection(terms(query))):
            return []
        words = {word.stem for word in placed_words(query)}
        whole = [one for one in products if {word.stem for word in placed_words(one.name)} <= words]
        return list(dict.fromkeys([*whole, *(self._names.nodes(asked, Kind.PRODUCT) or products)]))

    def _products(self, query: str) -> list[Node]:
        """Products that the query names; otherwise those that share most words with it, at least two. One word is
        enough if it fits one product and no document ("around the clock"), or the query is about price or stock."""
        named = self._names.nodes(query, Kind.PRODUCT)
        if named:
            return named
        asked = {word.stem for word in placed_words(query)}
        goods = self._graph.nodes(Kind.PRODUCT)
        shared = {node: asked & {word.stem for word in placed_words(node.name)} for node in goods}
        most = max(map(len, shared.values()), default=0)
        best = [node for node, common in shared.items() if len(common) == most > 0]
        known = self._passages.original.vocabulary
        alone = len(best) == 1 and (not shared[best[0]] & known or asked & CARD_WORDS)
        return best if most > 1 or alone else []

    def _beside(self, query: str, asked: str, products: Sequence[Node], count: int) -> list[Passage]:
        besides = terms(blanked(query, self._names.find(query, Kind.PRODUCT)))
        named = {word.stem for one in products for word in placed_words(one.name)}
        rest = [term for term in besides if term not in named and term not in CARD_WORDS]
        index, shown = self._passages.of(" ".join(rest)), self._passages.of(asked or query).passages
        originals, near = self._passages.original.passages, self._near(products)
        if not index.known(rest):
            asked_more = len(rest) < len(besides) - len(named & set(besides))
            return [] if asked_more else [shown[at] for at, one in enumerate(originals) if _place(one) in near][:count]
        scores = index.scores(rest)
        best: dict[str, float] = {}
        for passage, score in zip(originals, scores, strict=True):
            best[passage.document] = max(score, best.get(passage.document, 0.0))
        ranked = [
            (score + (NEIGHBOUR * best[passage.document] if _place(passage) in near else 0.0), at)
            for at, (passage, score) in enumerate(zip(originals, scores, strict=True))
        ]
        ranked.sort(key=lambda pair: -pair[0])
        least = LEAST * ranked[0][0]
        return [shown[at] for score, at in ranked[:count] if score > 0 and score >= least]

    def _near(self, products: Sequence[Node]) -> set[str]:
        """Places of sections with a rule that covers a product or names its category."""
        found: set[str] = set()
        for product in products:
            category = self._graph.after(product, Relation.IS_OF)[0]
            rules = [
                *self._graph.before(product, Relation.COVERS),
                *self._graph.before(category, Relation.NAMES),
            ]
            found |= {rule.source for rule in rules}
        return found


def _place(passage: Passage) -> str:
    return f"{passage.document}, {passage.heading}"


def _found(passage: Passage) -> Found:
    return Found(passage.document, passage.shown)
