"""Reads tables: text in rows and columns, with or without rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tools.vision.axes import text_rows
from tools.vision.ocr import Word, recognised
from tools.vision.readings import Box, TableReading
from tools.vision.rules import Rules, rules_of
from tools.vision.scene import Scene

LEAST_FILLED = 0.55
"""Least share of cells with text."""
LEAST_COVERED = 0.75
"""Least share of the image's text that is in the table."""
LONGEST_CELL = 45
"""Mean characters of a cell above which rows and columns are those of running text."""
ALIGNED = 0.8
"""Least share of columns whose cells are aligned, if there are no upright rules."""
MOST_CELLS = 3000
MISSED = 0.8
"""Least score of text that was found in a cell only by looking into it."""


@dataclass(frozen=True)
class Grid:
    """Edges of rows and columns in pixels: one more than there are rows and columns."""

    rows: tuple[float, ...]
    columns: tuple[float, ...]
    ruled: bool

    @property
    def size(self) -> tuple[int, int]:
        return len(self.rows) - 1, len(self.columns) - 1


def read_table(scene: Scene) -> TableReading | None:
    """The table that the image consists of; None if its text is not in rows and columns."""
    words = [word for word in scene.words if word.level]
    if len(words) < 4:
        return None
    rules = rules_of(scene)
    grid = _ruled(rules, words) or _unruled(words)
    if grid is None or grid.size[0] < 2 or grid.size[1] < 2 or grid.size[0] * grid.size[1] > MOST_CELLS:
        return None
    pieces = [piece for word in words for piece in _divided(word, grid)]
    inside = [piece for piece in pieces if _cell(piece, grid) is not None]
    if not grid.ruled and not _is_aligned(inside, grid):
        return None
    return _reading(scene, grid, inside, [piece for piece in pieces if _cell(piece, grid) is None])


def _ruled(rules: Rules, words: Sequence[Word]) -> Grid | None:
    """Cells between rules in both directions, if text stands in most of them."""
    if len(rules.level) < 3 or len(rules.upright) < 2:
        return None
    tall = float(np.median([word.height for word in words]))
    rows = _spaced(_closed(rules.level, [word.box[1::2] for word in words], tall), 0.9 * tall)
    columns = _spaced(_closed(rules.upright, [word.box[::2] for word in words], tall), 0.9 * tall)
    grid = Grid(tuple(rows), tuple(columns), True)
    filled = {cell for word in words if (cell := _cell(word, grid))}
    count = grid.size[0] * grid.size[1]
    # Some words in one cell stand side by side: then the upright lines are only a frame.
    return grid if count >= 4 and len(filled) >= LEAST_FILLED * count and _one_each(words, grid) else None


def _closed(edges: Sequence[float], spans: Sequence[Sequence[float]], tall: float) -> list[float]:
    """Edges with those of the table added on sides where it has no rule but text."""
    lows = [span[0] for span in spans if edges[0] - 60 * tall < span[1] < edges[0]]
    highs = [span[1] for span in spans if span[0] > edges[-1]]
    closed = list(edges)
    if lows and len([span for span in spans if span[1] < edges[0]]) > 1:
        closed.insert(0, min(lows) - 2)
    if highs and len(highs) > 1:
        closed.append(max(highs) + 2)
    return closed


def _spaced(edges: Sequence[float], least: float) -> list[float]:
    """Edges without those that are too close to the last one, as both sides of a thick rule are."""
    kept: list[float] = []
    for edge in edges:
        if not kept or edge - kept[-1] >= least:
            kept.append(edge)
    return kept


def _one_each(words: Sequence[Word], grid: Grid) -> bool:
    seen: dict[tuple[int, int], list[Word]] = {}
    for word in words:
        cell = _cell(word, grid)
        if cell:
            seen.setdefault(cell, []).append(word)
    crowded = sum(
        any(abs(a.y - b.y) < 0.4 * a.height and a is not b for a in row for b in row) for row in seen.values()
    )
    return crowded <= 0.3 * len(seen)


def _unruled(words: Sequence[Word]) -> Grid | None:
    """Rows by height of text, columns by empty strips between words."""
    rows = text_rows(words)
    rich = [row for row in rows if len(row) >= 2]
    if len(rich) < 2:
        return None
    first, last = rows.index(rich[0]), rows.index(rich[-1])
    body = [word for row in rich for word in row]
    columns = _columns(body, len(rich))
    if len(columns) < 3:
        return None
    kept = rows[first : last + 1]
    middles = [float(np.mean([word.y for word in row])) for row in kept]
    between = [(a + b) / 2 for a, b in pairwise(middles)]
    edges = [min(word.box[1] for word in kept[0]) - 3, *between, max(word.box[3] for word in kept[-1]) + 3]
    return Grid(tuple(edges), tuple(columns), False)


def _columns(words: Sequence[Word], rows: int) -> list[float]:
    """Middles of the strips that at most a few words cross, with the outer edges."""
    left, right = int(min(word.box[0] for word in words)), int(max(word.box[2] for word in words)) + 1
    covered = np.zeros(right - left + 1, dtype=int)
    for word in words:
        covered[int(word.box[0]) - left : int(word.box[2]) - left + 1] += 1
    tall = float(np.median([word.height for word in words]))
    empty = covered <= (0.12 * rows if rows >= 8 else 0)
    edges = [float(left - 2)]
    changes = np.flatnonzero(np.diff(np.concatenate([[0], empty.astype(int), [0]])))
    for start, end in zip(changes[::2], changes[1::2], strict=True):
        if start > 0 and end < len(covered) and end - start >= max(3.0, 0.3 * tall):
            edges.append(left + (start + end) / 2)
    return [*edges, float(right + 2)]


def _divided(word: Word, grid: Grid) -> list[Word]:
    """Pieces of text that was read across the edge of a column, divided at the space nearest to it."""
    left, top, right, bottom = word.box
    inner = [edge for edge in grid.columns[1:-1] if left + 0.5 * word.height < edge < right - 0.5 * word.height]
    spaces = [match.start() for match in re.finditer(" ", word.text)]
    if not inner or len(spaces) < len(inner):
        return [word]
    per = word.width / len(word.text)
    cuts = sorted({min(spaces, key=lambda place: abs(left + (place + 0.5) * per - edge)) for edge in inner})
    pieces = []
    ends = [-1, *cuts, len(word.text)]
    for start, end in pairwise(ends):
        box = (left + (start + 1) * per, top, left + end * per, bottom)
        pieces.append(replace(word, text=word.text[start + 1 : end], box=box))
    return pieces


def _cell(word: Word, grid: Grid) -> tuple[int, int] | None:
    row = int(np.searchsorted(grid.rows, word.y)) - 1
    column = int(np.searchsorted(grid.columns, word.x)) - 1
    return (row, column) if 0 <= row < grid.size[0] and 0 <= column < grid.size[1] else None


def _is_aligned(words: Sequence[Word], grid: Grid) -> bool:
    """Whether cells of most columns have one left edge, one right edge or one middle."""
    columns: dict[int, list[Word]] = {}
    for word in words:
        cell = _cell(word, grid)
        if cell:
            columns.setdefault(cell[1], []).append(word)
    tall = float(np.median([word.height for word in words]))
    good = 0
    for column in columns.values():
        spreads = [
            float(np.median(np.abs(np.array(edges) - np.median(edges))))
            for edges in ([w.box[0] for w in column], [w.box[2] for w in column], [w.x for w in column])
        ]
        good += min(spreads) <= max(2.5, 0.25 * tall)
    return good >= ALIGNED * len(columns)


def _reading(scene: Scene, grid: Grid, inside: Sequence[Word], outside: Sequence[Word]) -> TableReading | None:
    cells: dict[tuple[int, int], list[Word]] = {}
    for word in inside:
        cell = _cell(word, grid)
        if cell:
            cells.setdefault(cell, []).append(word)
    count = grid.size[0] * grid.size[1]
    letters = sum(len(word.text) for word in inside)
    enough = len(cells) >= LEAST_FILLED * count and len(inside) >= LEAST_COVERED * (len(inside) + len(outside))
    if not enough or letters > LONGEST_CELL * len(cells):
        return None
    texts = {cell: _joined(found) for cell, found in cells.items()}
    texts |= _missed(scene, grid, cells)
    rows = [tuple(texts.get((row, column), "") for column in range(grid.size[1])) for row in range(grid.size[0])]
    title = " ".join(word.text for word in outside if word.y < grid.rows[0])
    score = float(np.mean([word.score for word in inside]))
    return TableReading(rows[0], tuple(rows[1:]), grid.ruled, score, title)


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for row in text_rows(words) for word in row)


def _missed(scene: Scene, grid: Grid, cells: dict[tuple[int, int], list[Word]]) -> dict[tuple[int, int], str]:
    """Text in cells where detection found none, such as a single digit."""
    tall = float(np.median([word.height for found in cells.values() for word in found]))
    places: dict[tuple[int, int], Box] = {}
    for row in range(grid.size[0]):
        for column in range(grid.size[1]):
            box = None if (row, column) in cells else _ink_box(scene, grid, row, column, tall)
            if box:
                places[row, column] = box
    read = recognised(scene.pixels, list(places.values()))
    return {cell: text for cell, (text, score) in zip(places, read, strict=True) if score >= MISSED}


def _ink_box(scene: Scene, grid: Grid, row: int, column: int, tall: float) -> Box | None:
    """Bounding box of the ink in an otherwise empty cell, with a margin; None without ink of a letter's size."""
    inset = max(2, round(0.15 * tall))
    top, bottom = int(max(grid.rows[row], 0)) + inset, int(grid.rows[row + 1]) - inset
    left, right = int(max(grid.columns[column], 0)) + inset, int(grid.columns[column + 1]) - inset
    part = scene.lab[top:bottom, left:right]
    if part.size == 0:
        return None
    ink = np.abs(part[:, :, 0] - np.median(part[:, :, 0])) > 20
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) < 2 or rows[-1] - rows[0] > 1.6 * tall:
        return None
    margin = 0.25 * tall
    height = max(rows[-1] - rows[0], 0.8 * tall)
    middle = top + (rows[0] + rows[-1]) / 2
    return (
        left + columns[0] - margin,
        middle - height / 2 - margin,
        left + columns[-1] + margin,
        middle + height / 2 + margin,
    )
