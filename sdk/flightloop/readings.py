"""Wire types of image readings: a chart, table or text. All text comes from the image and is untrusted.

Pixel positions are (x, y) in the stored image, of ``width`` times ``height`` pixels, origin top left.
Confidences are 0 to 1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from flightloop.content import Wire

SHORT = 200
"""Characters of a name or cell."""
LINE = 1000
"""Characters of a line of text."""
POINTS, ROWS, LINES, COLUMNS, SERIES = 2000, 500, 500, 200, 200
"""Maximum numbers in one reading; of points, in one series."""
Name = Annotated[str, Field(max_length=SHORT)]
Confidence = Annotated[FiniteFloat, Field(ge=0, le=1)]


class ReadPoint(Wire):
    """A value of a chart."""

    x: str | FiniteFloat
    """Category, or number of a numeric axis."""
    y: FiniteFloat
    pixel: tuple[FiniteFloat, FiniteFloat]
    confidence: Confidence
    printed: bool = False
    """Whether ``y`` is a number printed at the mark. Otherwise it was measured."""


class ReadSeries(Wire):
    name: Name = ""
    colour: Name = ""
    points: list[ReadPoint] = Field(max_length=POINTS)


class ImageReading(Wire):
    """A chart, table or text in an image. Fields of the other kinds are empty."""

    kind: Literal["chart", "table", "text"]
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    title: Name = ""
    confidence: Confidence
    notes: list[Name] = Field(default_factory=list, max_length=32)
    chart: Literal["bar", "line", "pie"] | None = None
    axis: Name = ""
    """What the categories of a chart are."""
    value_axis: Name = ""
    unit: Name = ""
    series: list[ReadSeries] = Field(default_factory=list, max_length=SERIES)
    columns: list[Name] = Field(default_factory=list, max_length=COLUMNS)
    rows: list[list[Name]] = Field(default_factory=list, max_length=ROWS)
    lines: list[Annotated[str, Field(max_length=LINE)]] = Field(default_factory=list, max_length=LINES)
