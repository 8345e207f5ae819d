"""Draws the knowledge graph as SVG, or as DOT for Graphviz."""

from __future__ import annotations

from html import escape

from tools.knowledge.graph import Kind, KnowledgeGraph, Node

COLUMNS = (
    (Kind.DOCUMENT,),
    (Kind.SECTION,),
    (Kind.RULE,),
    (Kind.AMOUNT, Kind.TERM, Kind.CATEGORY),
    (Kind.PRODUCT,),
    (Kind.ATTRIBUTE,),
)
"""Kinds of nodes in each column, from left to right."""
COLOURS = {
    Kind.DOCUMENT: "#1f4e79",
    Kind.SECTION: "#2e75b6",
    Kind.RULE: "#7f7f7f",
    Kind.AMOUNT: "#c55a11",
    Kind.TERM: "#7030a0",
    Kind.CATEGORY: "#548235",
    Kind.PRODUCT: "#00786c",
    Kind.ATTRIBUTE: "#bf8f00",
}
MOST_LETTERS = 44
WIDTH, ROW, EDGE_OF_PAGE = 320, 18, 24
"""Pixels: width of a column, height of a row, margin."""


def dot(graph: KnowledgeGraph) -> str:
    """The graph in the DOT language, for ``dot -Tsvg``."""
    lines = ["digraph knowledge {", '  rankdir=LR; node [shape=box, style=rounded, fontname="sans-serif"];']
    for node in graph.nodes():
        lines.append(f'  {_quoted(node.id)} [label={_quoted(_short(node))}, color="{COLOURS[node.kind]}"];')
    lines += (
        f"  {_quoted(source.id)} -> {_quoted(target.id)} [label={_quoted(relation)}];"
        for source, relation, target in graph.edges()
    )
    return "\n".join([*lines, "}", ""])


def svg(graph: KnowledgeGraph) -> str:
    """SVG with columns by kind, from documents through rules to products; related nodes are near each other."""
    places = _places(graph)
    width = EDGE_OF_PAGE + WIDTH + int(max((x for x, _ in places.values()), default=0))
    height = EDGE_OF_PAGE * 2 + int(max((y for _, y in places.values()), default=0))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for source, relation, target in graph.edges():
        (x1, y1), (x2, y2) = sorted((places[source.id], places[target.id]))
        bend = (x1 + x2) / 2
        title = escape(f"{source.name} {relation} {target.name}")
        parts.append(
            f'<path d="M{x1} {y1} C{bend} {y1} {bend} {y2} {x2} {y2}" fill="none" stroke="{COLOURS[source.kind]}" '
            f'stroke-opacity="0.35"><title>{title}</title></path>'
        )
    for node in graph.nodes():
        x, y = places[node.id]
        title = escape(f"{node.kind}: {node.text or node.name} ({node.source})")
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="{COLOURS[node.kind]}"/>'
            f'<text x="{x + 7}" y="{y + 4}">{escape(_short(node))}<title>{title}</title></text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _places(graph: KnowledgeGraph) -> dict[str, tuple[float, float]]:
    """Positions of nodes: in columns from left to right, and within a column by the mean height of the neighbours in
    earlier columns."""
    columns = [column for kinds in COLUMNS if (column := graph.nodes(*kinds))]
    rows = max(map(len, columns), default=0)
    places: dict[str, tuple[float, float]] = {}

    def wanted(node: Node) -> float:
        near = [places[one.id][1] for one in (*graph.before(node), *graph.after(node)) if one.id in places]
        return sum(near) / len(near) if near else rows * ROW

    for index, column in enumerate(columns):
        gap = rows * ROW / max(1, len(column))
        for row, node in enumerate(sorted(column, key=wanted)):
            places[node.id] = (EDGE_OF_PAGE + index * WIDTH, round(EDGE_OF_PAGE + (row + 0.5) * gap, 1))
    return places


def _short(node: Node) -> str:
    return node.name if len(node.name) <= MOST_LETTERS else f"{node.name[: MOST_LETTERS - 1].rstrip()}…"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
