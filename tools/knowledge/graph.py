"""The knowledge graph: products, documents, rules and terms, and the relations between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import networkx as nx

from tools.knowledge.quantities import Measure


class Kind(StrEnum):
    """Kind of a node."""

    PRODUCT = "product"
    CATEGORY = "category"
    ATTRIBUTE = "attribute"  # of a product: price, stock, warranty, final sale
    DOCUMENT = "document"
    SECTION = "section"  # a paragraph under its heading
    RULE = "rule"  # a sentence of a section
    AMOUNT = "amount"  # a number with its unit in a rule: period, fee, share, hour
    TERM = "term"  # a name: carrier, payment method, country, bold words


class Relation(StrEnum):
    """Relation of an edge, read from source to target."""

    IS_OF = "is of"  # product → category
    COSTS = "costs"  # product → price
    HAS_STOCK = "has in stock"
    HAS_WARRANTY = "has a warranty of"
    IS = "is"  # product → final sale
    HAS = "has"  # document → section
    STATES = "states"  # section → rule
    SETS = "sets"  # rule → amount
    NAMES = "names"  # rule → category, document or term
    COVERS = "covers"  # rule → product whose attribute it states


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    ``source``: the document, or table and row, that states it. ``text``: the sentence or paragraph. ``values`` are in
    the measure's unit.
    """

    id: str  # unique in the graph
    kind: Kind
    name: str  # as shown
    source: str
    text: str = ""
    measure: Measure | None = None  # what ``values`` measure
    values: tuple[float, ...] = ()
    synonyms: tuple[str, ...] = ()  # other names


class KnowledgeGraph:
    """Nodes by id, and edges between them."""

    def __init__(self) -> None:
        self._graph: nx.DiGraph[str] = nx.DiGraph()

    def __contains__(self, node: str) -> bool:
        return node in self._graph

    def __len__(self) -> int:
        return len(self._graph)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KnowledgeGraph) and nx.utils.graphs_equal(self._graph, other._graph)

    __hash__ = None  # type: ignore[assignment]  # it grows while it is built

    def add(self, node: Node) -> Node:
        """Adds a node unless the graph has one with the same id. Returns the graph's node."""
        if node.id not in self._graph:
            self._graph.add_node(node.id, node=node)
        return self.node(node.id)

    def replace(self, node: Node) -> None:
        """Puts a node in the place of the one with the same id. Raises KeyError if there is none."""
        self._graph.nodes[node.id]["node"] = node

    def copy(self) -> KnowledgeGraph:
        other = KnowledgeGraph()
        other._graph = self._graph.copy()
        return other

    def link(self, source: Node, relation: Relation, target: Node) -> None:
        """Adds an edge. Raises KeyError if a node is missing."""
        for end in (source, target):
            if end.id not in self._graph:
                raise KeyError(f"{end.id}: must be added before it is linked")
        self._graph.add_edge(source.id, target.id, relation=relation)

    def node(self, node: str) -> Node:
        found: Node = self._graph.nodes[node]["node"]
        return found

    def nodes(self, *kinds: Kind) -> list[Node]:
        """Nodes of these kinds (default: all), in the order in which they were added."""
        return [node for _, node in self._graph.nodes(data="node") if not kinds or node.kind in kinds]

    def edges(self) -> Iterator[tuple[Node, Relation, Node]]:
        for source, target, relation in self._graph.edges(data="relation"):
            yield self.node(source), relation, self.node(target)

    def after(self, node: Node, *relations: Relation) -> list[Node]:
        """Targets of a node's outgoing edges with these relations (default: all)."""
        return [
            self.node(target)
            for target, data in self._graph[node.id].items()
            if not relations or data["relation"] in relations
        ]

    def before(self, node: Node, *relations: Relation) -> list[Node]:
        """Sources of a node's incoming edges with these relations (default: all)."""
        return [
            self.node(source)
            for source, data in self._graph.pred[node.id].items()
            if not relations or data["relation"] in relations
        ]

    def around(self, nodes: Iterable[Node], hops: int) -> KnowledgeGraph:
        """The subgraph within ``hops`` edges of the nodes, in either direction."""
        near: set[str] = set()
        plain = self._graph.to_undirected(as_view=True)
        for node in nodes:
            near |= nx.single_source_shortest_path_length(plain, node.id, cutoff=hops).keys()
        part = KnowledgeGraph()
        for one in self.nodes():  # in the graph's order, since a set's order differs between runs
            if one.id in near:
                part.add(one)
        for source, relation, target in self.edges():
            if source.id in near and target.id in near:
                part.link(source, relation, target)
        return part

    def check_integrity(self) -> None:
        """Raises AssertionError for an edge with a missing node, or a node without a source."""
        for name, node in self._graph.nodes(data="node"):
            assert node is not None, f"{name} is only the end of an edge"
            assert node.id == name, f"{name} is stored as {node.id}"
            assert node.source, f"{name} has no source"
            assert not node.values or node.measure, f"{name} has values of no measure"
