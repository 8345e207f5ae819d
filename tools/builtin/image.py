"""Tool that reads a chart, a table or text from an image file of the project.

The file must lie in the folder of the tools' data or in the project's folder; symbolic links are not followed. The
libraries are imported at the first call, since most agents read no images.
"""

from __future__ import annotations

import os
import stat
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from flightloop.tool import ToolContext, ToolRefused, tool
from tools.vision import ChartReading, ImageRefused, Reading, TableReading, VisionMissing
from tools.vision import read_image as reading_of
from tools.vision.advice import advise
from tools.vision.images import LIMITS
from tools.vision.key_points import key_points
from tools.vision.measures import measures_of

MOST_POINTS = 200
MOST_ROWS = 100
MOST_LINES = 200
MOST_KEY_POINTS = 12


@tool(effect="pure", timeout_s=60, returns_untrusted=True)
def read_image(
    context: ToolContext, path: Annotated[str, Field(min_length=1, max_length=300)], with_chart: bool = False
) -> Any:
    """Read a chart, a table or the text from a PNG, JPEG or WebP file of the project.

    Args:
        path: the file, relative to the project's folder
        with_chart: whether to return a Vega-Lite specification of the advised chart too
    """
    data = _content(context, path)
    try:
        return described(reading_of(data), with_chart=with_chart)
    except (ImageRefused, VisionMissing) as error:
        raise ToolRefused(f"{path}: {error}") from None


def described(reading: Reading, *, with_chart: bool = False) -> dict[str, Any]:
    """A reading as JSON: its values, key points and the advised chart."""
    if isinstance(reading, ChartReading):
        result = _chart(reading)
    elif isinstance(reading, TableReading):
        rows = [list(row) for row in reading.rows[:MOST_ROWS]]
        result = {"kind": "table", "title": reading.title, "columns": list(reading.header), "rows": rows}
        if len(reading.rows) > MOST_ROWS:
            result["note"] = f"only the first {MOST_ROWS} of {len(reading.rows)} rows are shown"
    else:
        return {"kind": "text", "lines": [line.text for line in reading.lines[:MOST_LINES]]}
    measures = measures_of(reading)
    if measures:
        advice = advise(measures)
        result["key_points"] = [point.text for point in key_points(measures)[:MOST_KEY_POINTS]]
        result["advised_chart"] = {"chart": advice.chart, "reason": advice.reason}
        if with_chart:
            result["advised_chart"]["vega_lite"] = advice.spec
    return result


def _chart(reading: ChartReading) -> dict[str, Any]:
    series = [
        {"name": one.name, "colour": one.colour, "values": [
            [point.x, float(f"{point.y:.6g}"), "printed" if point.printed else "measured"]
            for point in one.points[:MOST_POINTS]
        ]}
        for one in reading.series
    ]  # fmt: skip
    axis = {key: value for key, value in asdict(reading.y_axis).items() if value not in ("", None, ())}
    return {
        "kind": f"{reading.kind} chart", "title": reading.title, "value_axis": axis, "series": series,
        "confidence": round(reading.confidence, 2), "notes": list(reading.notes),
    }  # fmt: skip


def _content(context: ToolContext, path: str) -> bytes:
    """Bytes of a file below the tools' data or the project's folder."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts or "\0" in path:
        raise ToolRefused(f"{path!r} must be a path inside the project's folder, without '..'.")
    for folder in (context.data, context.project.folder):
        if folder is not None and (data := _read(folder, parts)) is not None:
            return data
    raise ToolRefused(f"There is no file {path!r} in the project's folder. Symbolic links are not followed.")


def _read(folder: Path, parts: tuple[str, ...]) -> bytes | None:
    """Bytes of a regular file; None if there is none. Each part of the path is opened without following links."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            outer, inner = inner, -1
            try:
                inner = os.open(part, flags if last else flags | os.O_DIRECTORY, dir_fd=outer)
            finally:
                os.close(outer)
        if not stat.S_ISREG(os.fstat(inner).st_mode):
            return None
        with os.fdopen(os.dup(inner), "rb") as file:
            return file.read(LIMITS.file_bytes + 1)
    except OSError:
        return None
    finally:
        if inner >= 0:
            os.close(inner)
