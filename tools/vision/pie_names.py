"""Names of a pie's slices: from labels at them, and from the legend by colour and order."""

from __future__ import annotations

from collections.abc import Sequence

from tools.vision.legend import MATCH, LegendEntry, name_of
from tools.vision.scene import Lab, distance


def legend_texts(colours: Sequence[Lab], legend: Sequence[LegendEntry]) -> list[str]:
    """The legend's text of each slice; empty where it has none.

    Slices of one colour get its texts in the order of the legend, which is that of the slices around the disc.

    Args:
        colours: the slices' colours, clockwise from the top
        legend: entries in reading order
    """
    texts = [name_of(colour, legend) for colour in colours]
    if len(set(texts)) == len(texts) or len(legend) != len(colours):
        return texts
    count = len(legend)
    clockwise = [[legend[(place + turn) % count] for place in range(count)] for turn in range(count)]
    counter = [[legend[(-1 - place - turn) % count] for place in range(count)] for turn in range(count)]
    for order in (*clockwise, *counter):
        if all(distance(entry.colour, colour) <= MATCH for entry, colour in zip(order, colours, strict=True)):
            return [entry.word.text for entry in order]
    return texts


def names_of(entries: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Name of each slice, from the legend's entries and the labels at the slices, which may be empty.

    Labels win if every slice has one of its own: they lie at the slices, and colours may repeat.
    """
    complete = all(labels) and len(set(labels)) == len(labels)
    return list(labels) if complete else [entry or label for entry, label in zip(entries, labels, strict=True)]
