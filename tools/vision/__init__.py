"""Reads charts, tables and text from untrusted images (docs/vision.md)."""

from tools.vision.errors import ImageRefused, VisionError, VisionMissing
from tools.vision.images import ImageLimits, Picture, load
from tools.vision.reader import read_image, read_picture
from tools.vision.readings import (
    Axis,
    AxisScale,
    ChartKind,
    ChartReading,
    Point,
    Reading,
    Series,
    TableReading,
    TextLine,
    TextReading,
)

__all__ = [
    "Axis",
    "AxisScale",
    "ChartKind",
    "ChartReading",
    "ImageLimits",
    "ImageRefused",
    "Picture",
    "Point",
    "Reading",
    "Series",
    "TableReading",
    "TextLine",
    "TextReading",
    "VisionError",
    "VisionMissing",
    "load",
    "read_image",
    "read_picture",
]
