"""Tools that take an image in for the platform. They decode untrusted files, so that they run in a tool host.

An image is checked by content and encoded again, which drops its metadata. Refusals are part of the result, to tell
them from failures of the host.
"""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Any

import httpx

from flightloop.readings import COLUMNS, LINE, LINES, POINTS, ROWS, SERIES, SHORT
from flightloop.tool import POLICY_EGRESS, ToolContext, ToolRefused, tool
from tools.fetching import fetched
from tools.vision.errors import ImageRefused, VisionMissing
from tools.vision.images import LIMITS, Picture, load
from tools.vision.libraries import pillow
from tools.vision.reader import read_picture
from tools.vision.readings import ChartReading, Reading, TableReading

PRELOADED = ("rapidocr",)
"""Modules for `tools.config.ToolsConfig.preloaded`, so that a host and its models serve one image after the other."""
STORED_BYTES = 1536 * 1024
"""Maximum size of an encoded image; larger ones are scaled down."""
STORED_SIDE = 2048
SHRINK = 0.75
QUALITY = 90


@tool(effect="pure", timeout_s=90, returns_untrusted=True)
def take_image(data: str, read: bool) -> Any:
    """Check an image, drop its metadata and, if asked to, read it.

    Args:
        data: the file in base64
        read: whether to read its chart, table or text
    """
    try:
        picture = load(base64.b64decode(data, validate=True))
        stored = encoded(picture)
        found: dict[str, Any] = {"data": base64.b64encode(stored.file).decode(), "type": stored.format}
        if read:
            found["reading"] = described(read_picture(stored.picture), stored.picture)
        return found
    except binascii.Error:
        return {"refused": "The data is not base64."}
    except ImageRefused as error:
        return {"refused": str(error)}
    except VisionMissing as error:
        return {"missing": str(error)}


@tool(
    effect="pure",
    timeout_s=30,
    permissions=("network",),
    hosts=(POLICY_EGRESS,),
    sinks=("url",),
    returns_untrusted=True,
)
async def fetch_image(context: ToolContext, url: str) -> Any:
    """Download an image from a host on the egress list.

    Args:
        url: address that begins with https://
    """
    try:
        return {"data": base64.b64encode(await fetched(url, context.egress, _body)).decode()}
    except ToolRefused as error:
        return {"refused": str(error)}


async def _body(url: httpx.URL, response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise ToolRefused(f"{url.host} answered with status {response.status_code}.")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LIMITS.file_bytes:
            raise ToolRefused(f"The file has more than {LIMITS.file_bytes:,} bytes. Make it smaller.")
    return bytes(body)


@dataclass(frozen=True)
class Stored:
    """An image as it is stored."""

    picture: Picture
    format: str
    """``PNG`` or ``JPEG``."""
    file: bytes


def encoded(picture: Picture) -> Stored:
    """The picture as stored: scaled down to the limits if needed.

    A JPEG stays one. Other formats become PNG, which loses nothing, or JPEG if PNG is too large.
    """
    kept = _scaled(picture, min(1.0, STORED_SIDE / max(picture.width, picture.height)))
    while True:
        formats = ("JPEG",) if picture.format == "JPEG" else ("PNG", "JPEG")
        for kind in formats:
            file = _file(kept, kind)
            if len(file) <= STORED_BYTES:
                return Stored(kept, kind, file)
        kept = _scaled(kept, SHRINK)


def _file(picture: Picture, kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": QUALITY} if kind == "JPEG" else {"optimize": False}
    pillow().fromarray(picture.pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


def _scaled(picture: Picture, factor: float) -> Picture:
    if factor >= 1.0:
        return picture
    import numpy as np

    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    image = pillow().fromarray(picture.pixels).resize(size)
    return Picture(np.asarray(image, dtype=np.uint8), picture.format)


def described(reading: Reading, picture: Picture) -> dict[str, Any]:
    """A reading as `flightloop.readings.ImageReading`, within its limits."""
    size = {"width": picture.width, "height": picture.height}
    if isinstance(reading, ChartReading):
        return {**size, **_chart(reading)}
    if isinstance(reading, TableReading):
        rows = [[_short(cell) for cell in row[:COLUMNS]] for row in reading.rows[:ROWS]]
        notes = [f"only the first {ROWS} of {len(reading.rows)} rows were kept"] if len(reading.rows) > ROWS else []
        return {
            **size, "kind": "table", "title": _short(reading.title), "confidence": _share(reading.confidence),
            "columns": [_short(name) for name in reading.header[:COLUMNS]], "rows": rows, "notes": notes,
        }  # fmt: skip
    lines = reading.lines[:LINES]
    sure = sum(line.confidence for line in lines) / len(lines) if lines else 0.0
    return {**size, "kind": "text", "confidence": _share(sure), "lines": [line.text[:LINE] for line in lines]}


def _chart(reading: ChartReading) -> dict[str, Any]:
    left, series = POINTS, []
    for one in reading.series[:SERIES]:
        points = [
            {
                "x": _short(point.x) if isinstance(point.x, str) else point.x, "y": float(f"{point.y:.6g}"),
                "pixel": [round(place, 1) for place in point.pixel], "confidence": _share(point.confidence),
                "printed": point.printed,
            }
            for point in one.points[:left]
        ]  # fmt: skip
        left -= len(points)
        series.append({"name": _short(one.name), "colour": one.colour, "points": points})
    return {
        "kind": "chart", "chart": reading.kind.value, "title": _short(reading.title),
        "axis": _short(reading.x_axis.title), "value_axis": _short(reading.y_axis.title),
        "unit": _short(reading.y_axis.unit), "series": series, "confidence": _share(reading.confidence),
        "notes": [_short(note) for note in reading.notes[:16]],
    }  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 3)


TOOLS = (take_image, fetch_image)
