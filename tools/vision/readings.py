"""Readings: the reader's results. All text in a reading comes from the image and is untrusted.

Pixel positions are (x, y) in the file's own pixels, origin top left, after EXIF rotation. Confidences are 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


class Boxed:
    """Size and middle of what has a ``box``, in pixels."""

    box: Box

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def x(self) -> float:
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        return (self.box[1] + self.box[3]) / 2


class ChartKind(StrEnum):
    BAR = "bar"
    LINE = "line"
    PIE = "pie"


class AxisScale(StrEnum):
    LINEAR = "linear"
    LOG = "log"
    CATEGORY = "category"
    NONE = "none"  # no tick labels were found


@dataclass(frozen=True)
class Axis:
    """An axis as drawn."""

    scale: AxisScale
    title: str = ""
    unit: str = ""
    """Unit of the values, such as ``%`` or ``kg``, from the tick labels or the title."""
    low: float | None = None  # value of the lowest tick label
    high: float | None = None  # value of the highest tick label
    labels: tuple[str, ...] = ()
    """Categories in their order on the axis."""


NO_AXIS = Axis(AxisScale.NONE)


@dataclass(frozen=True)
class Point:
    """A value of a series. A slice of a pie has its label as ``x`` and its value or percentage as ``y``."""

    x: str | float
    y: float
    pixel: tuple[float, float]
    confidence: float
    printed: bool = False
    """Whether ``y`` is a number printed at the mark. Otherwise it was measured."""


@dataclass(frozen=True)
class Series:
    name: str
    colour: str
    """``#rrggbb``."""
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ChartReading:
    """A chart. ``x_axis`` carries the categories, also if bars are horizontal."""

    kind: ChartKind
    title: str
    x_axis: Axis
    y_axis: Axis
    series: tuple[Series, ...]
    confidence: float
    horizontal: bool = False  # bars grow to the right
    stacked: bool = False
    notes: tuple[str, ...] = ()
    """Notes for whoever uses the values, such as a missing axis."""


@dataclass(frozen=True)
class TableReading:
    """A table. All rows have as many cells as ``header``; an empty cell is an empty string."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ruled: bool
    confidence: float
    title: str = ""

    @property
    def filled(self) -> float:
        """Share of cells that are not empty."""
        cells = [cell for row in (self.header, *self.rows) for cell in row]
        return sum(map(bool, cells)) / max(len(cells), 1)


@dataclass(frozen=True)
class TextLine:
    text: str
    box: Box
    confidence: float


@dataclass(frozen=True)
class TextReading:
    """Text in reading order: blocks from top to bottom, lines from left to right."""

    lines: tuple[TextLine, ...]

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


Reading = ChartReading | TableReading | TextReading
