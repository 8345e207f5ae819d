"""``python -m agent graph``: shows the knowledge graph of the project's database and documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from agent.config import Settings
from agent.project.project import EMBEDDED
from agent.project.project_file import read_project_file
from agent.serve.factories import seed_data
from flightloop.cli.console import PlainConsole
from flightloop.errors import ConfigError
from tools.knowledge.graph import Kind, KnowledgeGraph, Node
from tools.knowledge.library import Knowledge, Library

HOPS = 2
MOST_BRANCHES = 12


def show_graph(settings: Settings, about: str | None, pictures: dict[Callable[[KnowledgeGraph], str], Path]) -> None:
    """Prints the numbers of nodes and edges, or the facts around a term, and draws that part of the graph.

    Args:
        about: a product, category, document or term; None: everything.
        pictures: drawing functions (``dot`` and ``svg``) with their output files.

    Raises:
        ConfigError: the term is unknown, or a file cannot be written.
    """
    seed_data(settings)
    folder = settings.project or EMBEDDED
    knowledge = Library(settings.data, read_project_file(folder).data(folder)).current()
    graph, console = knowledge.graph, PlainConsole()
    if about is None:
        console.print(_summary(graph))
    else:
        named = find(knowledge, about)
        if not named:
            raise ConfigError(f"--about: nothing is known about {about!r}; run the command without it for an overview")
        for node in named:
            console.print(tree(graph, node))
        graph = graph.around(named, HOPS)
    for draw, path in pictures.items():
        try:
            path.write_text(draw(graph), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
        console.print(Text(f"{len(graph)} nodes in {path}"))


def find(knowledge: Knowledge, about: str) -> list[Node]:
    """Nodes that a term names, otherwise sections and rules that contain the term."""
    wanted = about.casefold()
    texts = knowledge.graph.nodes(Kind.SECTION, Kind.RULE)
    return knowledge.names.nodes(about) or [node for node in texts if wanted in f"{node.name} {node.text}".casefold()]


def tree(graph: KnowledgeGraph, node: Node) -> Tree:
    """A node and its neighbours, up to two edges away."""
    root = Tree(Text(f"{node.name} ({node.kind}, {node.source})"))
    _grow(root, graph, node, {node}, HOPS)
    return root


def _grow(branch: Tree, graph: KnowledgeGraph, node: Node, seen: set[Node], hops: int) -> None:
    if not hops:
        return
    edges = [
        *((f"{relation} → {target.name}", target) for source, relation, target in graph.edges() if source == node),
        *((f"{relation} ← {source.name}", source) for source, relation, target in graph.edges() if target == node),
    ]
    new = [(shown, other) for shown, other in edges if other not in seen]
    for shown, other in new[:MOST_BRANCHES]:
        grown = branch.add(Text(f"{shown} ({other.source})"))
        _grow(grown, graph, other, {*seen, other, *(one for _, one in new)}, hops - 1)
    if len(new) > MOST_BRANCHES:
        branch.add(Text(f"… and {len(new) - MOST_BRANCHES} more"))


def _summary(graph: KnowledgeGraph) -> Table:
    table = Table("nodes", "", "edges", " ")
    kinds = Counter(node.kind for node in graph.nodes()).items()
    relations = Counter(relation for _, relation, _ in graph.edges()).items()
    rows = max(len(kinds), len(relations))
    for (kind, nodes), (relation, edges) in zip(
        [*kinds, *[("", "")] * (rows - len(kinds))], [*relations, *[("", "")] * (rows - len(relations))], strict=True
    ):
        table.add_row(str(kind), str(nodes), str(relation), str(edges))
    return table
