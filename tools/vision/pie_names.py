"""Names of a pie's slices: from labels at them, and from the legend by colour and order."""

from __future__ import annotations

from collections.abc import Sequence

from tools.vision.legend import MATCH, LegendEntry, name_of
from tools.vision.numerals import numeral, without_numbers
from tools.vision.pie_values import name_and_values
from tools.vision.scene import Lab, distance

LEFT_OVER = 2.5 * MATCH
"""Largest distance between the colours of slices and entries that no others match."""


def legend_texts(colours: Sequence[Lab], legend: Sequence[LegendEntry]) -> list[str]:
    """The legend's text of each slice; empty where it has none.

    Slices of one colour get its texts in the order of the legend, which is that of the slices around the disc.

    Args:
        colours: the slices' colours, clockwise from the top
        legend: entries in reading order
    """
    texts = _completed([name_of(colour, legend) for colour in colours], colours, legend)
    if len(set(texts)) == len(texts) or len(legend) != len(colours):
        return texts
    count = len(legend)
    clockwise = [[legend[(place + turn) % count] for place in range(count)] for turn in range(count)]
    counter = [[legend[(-1 - place - turn) % count] for place in range(count)] for turn in range(count)]
    for order in (*clockwise, *counter):
        if all(distance(entry.colour, colour) <= MATCH for entry, colour in zip(order, colours, strict=True)):
            return [entry.word.text for entry in order]
    return texts


def _completed(texts: Sequence[str], colours: Sequence[Lab], legend: Sequence[LegendEntry]) -> list[str]:
    """Texts with those of the entries that are left for the slices without one, where these are as many.

    JPEG changes the colour of a small sample by more than `MATCH`.
    """
    whole = list(texts)
    places = [place for place, text in enumerate(texts) if not text]
    spare = [entry for entry in legend if entry.word.text not in texts]
    if not places or len(places) != len(spare):
        return whole
    pairs = sorted(
        (float(distance(entry.colour, colours[place])), place, index)
        for place in places for index, entry in enumerate(spare)
    )  # fmt: skip
    used: set[int] = set()
    for away, place, index in pairs:
        if away <= LEFT_OVER and not whole[place] and index not in used:
            whole[place] = spare[index].word.text
            used.add(index)
    return whole


def label_name(text: str) -> str:
    """The name in a label: what stands before a colon and a value, else the text without its numbers.

    >>> label_name("2012: 22.02%"), label_name("Apples 37 (22%)")
    ('2012', 'Apples')
    """
    name, _ = name_and_values(text)
    return name if name and numeral(name) else without_numbers(text)


def names_of(entries: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Name of each slice, from the legend's entries and the labels at the slices, which may be empty.

    Labels win if every slice has one of its own: they lie at the slices, and colours may repeat.
    """
    complete = all(labels) and len(set(labels)) == len(labels)
    return list(labels) if complete else [entry or label for entry, label in zip(entries, labels, strict=True)]
