"""Builds the knowledge graph from rows and passages by deterministic rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from tools.knowledge.catalogue import Catalogue, Product
from tools.knowledge.documents import Passage
from tools.knowledge.graph import Kind, KnowledgeGraph, Node, Relation
from tools.knowledge.names import Names, last_word
from tools.knowledge.quantities import MONTH, Measure, quantities
from tools.knowledge.words import placed_words, sentences

_BOLD = re.compile(r"\*\*(.+?)\*\*|__(.+?)__")
_CAPITAL = re.compile(r"(?<=[a-z,] )(?<!\. )[A-Z][\w-]*(?: (?:of )?[A-Z][\w-]*)*")
_JOINT = re.compile(r",\s+(?:and\s+)?|;\s+|\s+and\s+")
_UNITS = {"EUR"}
MOST_JOINTS = 12
"""Maximum number of places where a sentence may be split. Each place costs a search of the rest of the sentence."""


def build(catalogue: Catalogue, found: Sequence[Passage]) -> KnowledgeGraph:
    """Builds the graph of products, terms and the passages of documents, in the given order."""
    graph = KnowledgeGraph()
    for product in catalogue.products:
        _add_product(graph, product)
    for kind, name in catalogue.terms:
        graph.add(Node(f"term {name.lower()}", Kind.TERM, name, kind))
    places: Counter[str] = Counter()
    rules = [rule for passage in found for rule in _add_passage(graph, passage, places)]
    for rule in rules:
        for name in _own_names(rule.text):
            term = f"term {name.lower()}"
            graph.add(Node(term, Kind.TERM, name, rule.source))
    names = Names(graph)
    for rule in rules:
        for node in names.nodes(rule.text, Kind.CATEGORY, Kind.TERM, Kind.DOCUMENT):
            if node.name != rule.source.split(", ")[0]:
                graph.link(rule, Relation.NAMES, node)
    _link_covered(graph, rules)
    return graph


def repriced(graph: KnowledgeGraph, catalogue: Catalogue) -> KnowledgeGraph:
    """A copy of a graph with the catalogue's prices and stocks. The two must not differ in anything else."""
    changed = graph.copy()
    for product in reversed(catalogue.products):  # of rows with the same id, the first counts
        for node in _price_and_stock(product):
            changed.replace(node)
    return changed


def clauses(sentence: str) -> list[tuple[int, str]]:
    """Splits a sentence into parts that each state a quantity ("clothing has 12 months, pans 60"). Returns where each
    part begins and its text; the whole sentence if a part would state none."""
    parts, start = [], 0
    for match in islice(_JOINT.finditer(sentence), MOST_JOINTS):
        if quantities(sentence[start : match.start()]) and quantities(sentence[match.end() :]):
            parts.append((start, sentence[start : match.start()]))
            start = match.end()
    return [*parts, (start, sentence[start:])]


def euros(cents: int) -> str:
    return f"{cents / 100:.2f} EUR"


def _add_product(graph: KnowledgeGraph, product: Product) -> None:
    source = f"products {product.id}"
    node = graph.add(Node(f"product {product.id}", Kind.PRODUCT, product.name, source, synonyms=product.synonyms))
    category = graph.add(Node(f"category {product.category.lower()}", Kind.CATEGORY, product.category, "products"))
    graph.link(node, Relation.IS_OF, category)
    price, stock = _price_and_stock(product)
    graph.link(node, Relation.COSTS, graph.add(price))
    graph.link(node, Relation.HAS_STOCK, graph.add(stock))
    period = (product.warranty_months * MONTH,)
    warranty = _attribute(product, "warranty", f"{product.warranty_months} months", Measure.TIME, period)
    graph.link(node, Relation.HAS_WARRANTY, graph.add(warranty))
    if product.final_sale:
        graph.link(node, Relation.IS, graph.add(_attribute(product, "final sale", "final sale")))


def _price_and_stock(product: Product) -> tuple[Node, Node]:
    price = _attribute(product, "price", euros(product.price_cents), Measure.MONEY, (product.price_cents / 100,))
    return price, _attribute(product, "stock", str(product.stock), Measure.STOCK, (float(product.stock),))


def _attribute(
    product: Product, name: str, shown: str, measure: Measure | None = None, values: tuple[float, ...] = ()
) -> Node:
    owner = f"product {product.id}"
    return Node(f"{owner}/{name}", Kind.ATTRIBUTE, shown, f"products {product.id}", "", measure, values)


def _add_passage(graph: KnowledgeGraph, passage: Passage, places: Counter[str]) -> Iterator[Node]:
    """Adds a passage with its rules, and yields the rules. ``places``: number of earlier passages per place."""
    document = graph.add(Node(f"document {passage.document}", Kind.DOCUMENT, passage.document, passage.document))
    place = f"{passage.document}, {passage.heading}"
    places[place] += 1
    number = places[place] - 1
    name = f"section {place}" + (f" {number + 1}" if number else "")
    section = graph.add(Node(name, Kind.SECTION, passage.heading, place, passage.text))
    graph.link(document, Relation.HAS, section)
    for index, (_, sentence) in enumerate(sentences(passage.text), start=1):
        rule = graph.add(Node(f"rule {name.removeprefix('section ')}/{index}", Kind.RULE, sentence, place, sentence))
        graph.link(section, Relation.STATES, rule)
        for begin, clause in clauses(sentence):
            for one in quantities(clause):
                amount = Node(
                    f"{rule.id}/{begin + one.start}",
                    Kind.AMOUNT,
                    clause[one.start : one.end],
                    place,
                    clause,
                    one.measure,
                    one.values,
                )
                graph.link(rule, Relation.SETS, graph.add(amount))
        yield rule


def _own_names(text: str) -> list[str]:
    """Names that a text introduces: bold words, and capitalised words within a sentence."""
    bold = [first or second for first, second in _BOLD.findall(text)]
    return [name for name in (*bold, *_CAPITAL.findall(text)) if name not in _UNITS]


def _link_covered(graph: KnowledgeGraph, rules: Sequence[Node]) -> None:
    """Links rules to the products that they cover: a rule covers a product if it names the product's category or kind
    and states its warranty."""
    goods = [
        (
            product,
            {last_word(product.name), *(last_word(one.name) for one in graph.after(product, Relation.IS_OF))},
            [one.values for one in graph.after(product, Relation.HAS_WARRANTY)],
        )
        for product in graph.nodes(Kind.PRODUCT)
    ]
    for rule in rules:
        for amount in graph.after(rule, Relation.SETS):
            stems = {word.stem for word in placed_words(amount.text)}
            for product, called, warranties in goods:
                if amount.measure is Measure.TIME and called & stems and amount.values in warranties:
                    graph.link(rule, Relation.COVERS, product)
