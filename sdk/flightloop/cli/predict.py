"""``flightloop predict``: describes a chart, table or text, or answers a question about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flightloop import Flightloop
from flightloop.cli.console import PlainConsole
from flightloop.cli.render import line_or_lines, short
from flightloop.content import Table as Data
from flightloop.errors import InvalidRequest
from flightloop.predictions import ChartAdvice, EvidencePoint, PredictedPoint, Prediction
from flightloop.runs import RunStatus

ROWS = 20
SCALE = 2.0
"""Pixels of a PNG per pixel of the specification."""
RENDERER = "vl-convert-python"


def predict(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="The question; none: what is to be seen.")] = "",
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="PNG, JPEG or WebP: file or address.")
    ] = None,
    table: Annotated[Path | None, typer.Option("--table", "-t", help="CSV file.")] = None,
    about: Annotated[str, typer.Option("--context", help="What the model should know about the data.")] = "",
    session: Annotated[str | None, typer.Option(help="Session of an earlier prediction, for a follow-up.")] = None,
    chart: Annotated[
        Path | None, typer.Option(help="Write the advised chart: .json (Vega-Lite), or .svg or .png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole prediction as JSON.")] = False,
) -> None:
    """Describe a chart, a table or a text in an image, or answer a question about it."""
    console = PlainConsole()
    if chart is not None:
        _check_suffix(chart)
    with Flightloop(context.obj) as client:
        found = client.predict(text, image or None, table, about, session_id=session)
    if as_json:
        print(found.model_dump_json(indent=2))
    else:
        console.print(shown(found, console.width))
    if chart is not None:
        if found.chart is None:
            raise InvalidRequest(f"{chart} is not written: the data have no numbers to draw")
        chart.write_bytes(drawn(found.chart, chart.suffix))
    raise typer.Exit(0 if found.status is RunStatus.SUCCEEDED else 1)


def shown(found: Prediction, width: int) -> RenderableType:
    """A prediction for a terminal."""
    parts: list[RenderableType] = [Text(found.description)]
    if found.key_points:
        parts += [Text(), Text("Key points", style="bold")]
        parts += [_point(point, found.evidence) for point in found.key_points]
    if found.table is not None and found.table.rows:
        parts += [Text(), _table(found.table)]
    if found.chart is not None:
        parts += [Text(), Text.assemble(("Chart  ", "bold"), found.chart.chart, (f": {found.chart.reason}", "dim"))]
    sure = "" if found.confidence is None else f"confidence {found.confidence:.0%}"
    ids = [f"described by {found.described_by}", found.run_id, f"session {found.session_id}"]
    return Group(*parts, Text(), Text(line_or_lines([sure, *ids] if sure else ids, width), style="dim"))


def drawn(advice: ChartAdvice, suffix: str) -> bytes:
    """A chart as a file of this type.

    Raises:
        InvalidRequest: the renderer is not installed.
    """
    if suffix.lower() == ".json":
        return (json.dumps(advice.spec, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        import vl_convert
    except ImportError:
        raise InvalidRequest(
            f"drawing a chart needs {RENDERER}: pip install {RENDERER}; a file that ends in .json needs nothing"
        ) from None
    if suffix.lower() == ".svg":
        return str(vl_convert.vegalite_to_svg(json.dumps(advice.spec), allowed_base_urls=[])).encode()
    data: bytes = vl_convert.vegalite_to_png(json.dumps(advice.spec), scale=SCALE, allowed_base_urls=[])
    return data


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in (".json", ".svg", ".png"):
        raise InvalidRequest(f"--chart: {path} must end in .json, .svg or .png")


def _point(point: PredictedPoint, evidence: list[EvidencePoint]) -> Text:
    known = [evidence[index] for index in point.evidence if index < len(evidence)]
    places = [_place(one) for one in known[:2]]
    more = ", …" if len(known) > 2 else ""
    return Text.assemble(f"  {point.text}", (f"  {', '.join(places)}{more}" if any(places) else "", "dim"))


def _place(point: EvidencePoint) -> str:
    if point.image is None:
        return ""
    where = "" if point.pixel is None else f" at ({point.pixel[0]:.0f}, {point.pixel[1]:.0f})"
    return f"image {point.image}{where}, {point.confidence:.0%}"


def _table(data: Data) -> RenderableType:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for index, name in enumerate(data.columns):
        numeric = all(isinstance(row[index], int | float | None) for row in data.rows)
        table.add_column(Text(short(name, 40)), justify="right" if numeric else "left")
    for row in data.rows[:ROWS]:
        table.add_row(*(Text("" if cell is None else short(_cell(cell), 40)) for cell in row))
    if len(data.rows) > ROWS:
        table.add_row(Text(f"… {len(data.rows) - ROWS} more", style="dim"))
    return table


def _cell(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.5g}" if abs(cell) < 1e5 else f"{cell:.0f}"
