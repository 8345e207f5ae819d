"""What descriptions of charts claim, and whether the drawn data bear it out."""

from __future__ import annotations

import re

from agent.attachments.facts import ChartFacts
from agent.attachments.figures import chart_of
from agent.attachments.names import Names
from bench.charts.score import is_near, value_pairs
from bench.charts.specimen import Specimen
from flightloop.readings import ImageReading
from guardrails.evidence.grounds import claims
from tools.vision.measures import Measures
from tools.vision.readings import ChartReading

NO_CLAIMS = re.compile(r"\(Kendall's tau -?\d\.\d\d\)|\bSeries \d+\b")
"""A figure of the method in descriptions by code, and what the platform calls series whose names were not read."""


def claims_right(text: str, specimen: Specimen, reading: ImageReading) -> list[bool]:
    """For each claim of a description, whether the drawn chart supports it.

    Claims are numbers, extremes and directions. They are right by the rules of the platform's own check
    (`agent.attachments.facts`), against the true values, or against these with the read ones that are within 5 %. A
    number of ten or more that is neither a value, nor follows from values, nor is a name is wrong.
    """
    chart = chart_of(reading)
    if chart is None:
        raise ValueError("the image was not read as a chart")
    text = NO_CLAIMS.sub("", text)
    stated: dict[tuple[int, int], bool] = {}
    for truth in (measures_of(specimen, chart, read=True), measures_of(specimen, chart, read=False)):
        for one in ChartFacts([truth]).statements(text):
            stated[one.start, one.end] = stated.get((one.start, one.end), False) or one.right
    names = Names([*specimen.categories, *specimen.names, specimen.title, specimen.unit]).mentions(text)
    taken = bytearray(len(text))
    for start, end in (*stated, *((one.start, one.end) for one in names)):
        taken[start:end] = b"1" * (end - start)
    unknown = [claim for claim in claims(text) if not any(taken[claim.start : claim.end])]
    return [*stated.values(), *(False for _ in unknown)]


def measures_of(specimen: Specimen, reading: ChartReading, *, read: bool) -> Measures:
    """The true values. With ``read``, those that were read within 5 % are as they were read."""
    values = tuple(
        tuple(found if read and found is not None and is_near(found, truth) else truth for truth, found in row)
        for row in value_pairs(specimen, reading)
    )
    return Measures(specimen.categories, specimen.names, values, specimen.title, parts=specimen.kind == "pie")
