"""Places along a category axis and the labels that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np

from tools.vision.axes import text_rows
from tools.vision.dates import is_date
from tools.vision.numerals import numeral
from tools.vision.ocr import Word

SLANTED = 8.0
"""Degrees above which text is slanted, where other labels clearly are: short text's angle is inexact."""
UPRIGHT = 75.0
"""Degrees above which text is upright."""
TOUCHES, AXIS_LIKE = 0.35, "!|]lI1[)"
"""How far a label reaches into the axis that it touches, in heights, and what the axis is then read as."""
BEGINNING = 0.6
"""Least share of the cuts between labels that overlap at which a word begins."""
CLUSTER = 8.0
"""Pixels between marks of one place, such as the edges of a marker."""
REGULAR = 0.7
"""Least share of marks that lie on a regular axis, and of its places that have a mark."""
IRREGULAR = 0.15
"""Largest distance of a mark from its place on a regular axis, in steps."""
CLEARLY = 12.0
"""Median of the degrees of labels that are clearly slanted."""


@dataclass(frozen=True)
class Label:
    """A category's text and its pixel position along the axis."""

    text: str
    position: float
    words: tuple[Word, ...]


def labels_below(
    words: Sequence[Word], bottom: float, places: Sequence[float], marks: Sequence[float] = ()
) -> list[Label]:
    """Labels of a horizontal category axis: the first rich row of text under ``bottom``.

    Args:
        words: candidates, without those of legend and value axis
        bottom: lower end of the plot area
        places: positions that have a label; they decide whether slanted labels belong to their middle or their end
        marks: positions of marks, at which labels that were read as one are divided; default: ``places``
    """
    below = [word for word in words if word.y > bottom - 3]
    turned = [word for word in below if not word.level]
    slanted = [word for word in below if abs(word.angle) > SLANTED]
    if len(turned) < 2 and (len(slanted) < 3 or float(np.median([abs(word.angle) for word in slanted])) < CLEARLY):
        slanted = []
    if len(slanted) >= 0.6 * len(below) and slanted:
        return _slanted(slanted, places)
    rows = text_rows([word for word in below if word.level])
    if not rows:
        return []
    most = max(len(row) for row in rows)
    first = next(index for index, row in enumerate(rows) if len(row) >= max(1, 0.6 * most))
    usual = float(np.median([word.width for word in rows[first]]))
    labels = [label for word in rows[first] for label in _divided(word, marks or places, usual)]
    for row in rows[first + 1 :]:
        continued = [_continued(label, row) for label in labels]
        if sum(len(label.words) for label in continued) - sum(len(label.words) for label in labels) < len(row):
            break
        labels = continued
    return labels


def labels_beside(words: Sequence[Word], left: float) -> list[Label]:
    """Labels of a vertical category axis: text that ends left of ``left``, in lines that belong together."""
    near = [word for word in words if word.box[2] < left + max(4, TOUCHES * word.height) and word.x < left]
    slanted = [word for word in near if not word.level and abs(word.angle) < UPRIGHT]
    if len(slanted) > max(2, 0.5 * len(near)):
        return [Label(word.text, _right_end(word), (word,)) for word in sorted(slanted, key=_right_end)]
    beside = [word for word in near if word.level]
    if not beside:
        return []
    text = [word for word in beside if numeral(word.text) is None]
    if len(text) >= 0.5 * len(beside):  # the rest are values printed at negative bars
        beside = text
    edge = max(word.box[2] for word in beside)
    near = [word for word in beside if edge - word.box[2] < max(40.0, 2 * word.height) or word.box[2] > edge - 8]
    column = sorted(near, key=lambda word: word.y)
    return [
        Label(
            " ".join(_without_axis(word, left) for word in row).rstrip("-–_ "),
            float(np.mean([word.y for word in row])),
            tuple(row),
        )
        for row in text_rows(column)
    ]


def _right_end(word: Word) -> float:
    """Pixel row in which slanted text ends, where it touches its axis."""
    return word.anchor[1] if word.angle > 0 else 2 * word.y - word.anchor[1]


def _without_axis(word: Word, left: float) -> str:
    """The word's text without the axis at ``left`` that it touches, which is read as a letter."""
    crosses = word.box[2] > left + 2 and len(word.text) > 1 and word.text[-1] in AXIS_LIKE
    return word.text[:-1] if crosses else word.text


def assigned(labels: Sequence[Label], places: Sequence[float]) -> list[str]:
    """The label's text of each place; empty where none is near."""
    if not labels or not places:
        return [""] * len(places)
    spacing = float(np.median(np.diff(sorted(places)))) if len(places) > 1 else float("inf")
    texts = []
    for place in places:
        label = min(labels, key=lambda one: abs(one.position - place))
        texts.append(label.text if abs(label.position - place) <= 0.6 * spacing else "")
    return texts


def _divided(word: Word, marks: Sequence[float], usual: float) -> list[Label]:
    """Labels that stand so close that they were read as one, divided at the spaces."""
    tokens = [word.text] if is_date(word.text) else word.text.split()
    spanned = sorted(mark for mark in marks if word.box[0] - 2 <= mark <= word.box[2] + 2)
    if len(tokens) >= 2 and len(tokens) == len(spanned):
        return [Label(token, place, (word,)) for token, place in zip(tokens, spanned, strict=True)]
    places = _even(spanned)
    if len(places) > len(tokens) and (texts := _cut(word, places)):
        return [Label(text, place, (word,)) for text, place in zip(texts, places, strict=True)]
    alone = len(tokens) >= 3 and word.width > 18 * word.height
    if len(tokens) < 2 or (word.width < 1.8 * usual and not alone):
        return [Label(word.text, word.x, (word,))]
    per = word.width / len(word.text)
    labels, start = [], 0
    for token in tokens:
        start = word.text.index(token, start)
        labels.append(Label(token, word.box[0] + (start + len(token) / 2) * per, (word,)))
        start += len(token)
    return labels


def _even(marks: Sequence[float]) -> list[float]:
    """Places of a regular axis from marks at most of them, with those that are missing; empty without regularity."""
    groups = np.split(np.asarray(marks), np.flatnonzero(np.diff(marks) > CLUSTER) + 1)
    middles = np.array([float(group.mean()) for group in groups if len(group)])
    best: list[float] = []
    most = 0
    for first, second in combinations(middles, 2):
        steps = (middles - first) / (second - first)
        at = np.abs(steps - np.round(steps)) <= IRREGULAR
        count = int(np.ptp(np.round(steps[at]))) + 1
        if at.sum() < REGULAR * max(len(middles), count) or 2 * at.sum() - count <= most:
            continue
        most = 2 * int(at.sum()) - count
        step, start = np.polyfit(np.round(steps[at]), middles[at], 1)
        low = int(np.round(steps[at]).min())
        best = [float(start + (low + place) * step) for place in range(count)]
    return best


def _cut(word: Word, places: Sequence[float]) -> list[str]:
    """Texts of labels that overlap, cut between their places where words begin; empty if few words begin there."""
    per = word.width / len(word.text)
    cuts, found = [0], 0
    for first, second in pairwise(places):
        cut = round(((first + second) / 2 - word.box[0]) / per)
        begins = [place for place in range(cut - 2, cut + 3) if cuts[-1] < place < len(word.text)
                  and (word.text[place].isupper() or word.text[place] == " ")]  # fmt: skip
        found += bool(begins)
        cuts.append(max(min(begins, key=lambda place: abs(place - cut), default=cut), cuts[-1]))
    if found < BEGINNING * (len(places) - 1):
        return []
    return [word.text[start:end].strip() for start, end in pairwise([*cuts, len(word.text)])]


def _continued(label: Label, row: Sequence[Word]) -> Label:
    last = label.words[-1]
    for word in row:
        close = word.box[1] - last.box[3] < 0.7 * last.height
        if close and abs(word.x - last.x) < max(word.width, last.width) * 0.5:
            return Label(f"{label.text} {word.text}", label.position, (*label.words, word))
    return label


def _without_tick(word: Word) -> str:
    """The text of a turned label without the tick above it, which is read as a dash at that end."""
    return word.text.lstrip("-–— ") if word.angle < 0 else word.text.rstrip("-–— ")


def _slanted(words: Sequence[Word], places: Sequence[float]) -> list[Label]:
    row = max(text_rows(words), key=len) if len(words) > 30 else list(words)
    ends = [Label(_without_tick(word), word.anchor[0], (word,)) for word in row]
    middles = [replace(label, position=label.words[0].x) for label in ends]
    upright = all(abs(word.angle) > UPRIGHT for word in row)
    if upright or _misfit(middles, places) < _misfit(ends, places):
        return sorted(middles, key=lambda label: label.position)
    return sorted(ends, key=lambda label: label.position)


def _misfit(labels: Sequence[Label], places: Sequence[float]) -> float:
    if not places:
        return float(np.inf)
    # The ends of a line have a label more often than not, but not always both.
    return float(min(abs(label.position - place) for label in labels for place in (places[0], places[-1])))
