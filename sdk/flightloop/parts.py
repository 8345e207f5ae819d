"""Makes content parts from what programs have: files, bytes, rows, data frames."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from flightloop.content import ImagePart, ImageUrl, Scalar, Table, TablePart
from flightloop.errors import InvalidRequest

MOST_BYTES = 10 * 1024**2
"""Size of an image or CSV file."""
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
DELIMITERS = ",;\t|"


class Frame(Protocol):
    """A data frame, such as pandas' or polars'."""

    @property
    def columns(self) -> Any: ...


ImageSource = bytes | str | PathLike[str] | ImagePart
"""An image: its bytes, a path, an address (``https://…``, ``data:…``), or a part."""
TableSource = (
    Table
    | TablePart
    | str
    | PathLike[str]
    | Sequence[Mapping[str, Any]]
    | Sequence[Sequence[Any]]
    | Mapping[str, Sequence[Any]]
    | Frame
)
"""A table: a path of a CSV file, CSV text, rows as dicts, rows of cells after a row of names, columns by name, or a
data frame."""


def image_part(source: ImageSource) -> ImagePart:
    """A part with an image.

    Raises:
        InvalidRequest: there is no such file, or it is too large or neither PNG, JPEG nor WebP.
    """
    if isinstance(source, ImagePart):
        return source
    if isinstance(source, str) and source.lower().startswith(("http://", "https://", "data:")):
        return ImagePart(image_url=ImageUrl(url=source))
    data = source if isinstance(source, bytes) else _read(source, "image")
    kind = next((kind for signature, kind in SIGNATURES.items() if data.startswith(signature)), None)
    if kind is None or (kind == "image/webp" and data[8:12] != b"WEBP"):
        raise InvalidRequest("image: the content is not PNG, JPEG or WebP", param="image")
    return ImagePart(image_url=ImageUrl(url=f"data:{kind};base64,{base64.b64encode(data).decode()}"))


def table_part(source: TableSource) -> TablePart:
    """A part with a table.

    Raises:
        InvalidRequest: there is no such file, or it is no table.
        ValidationError: it is too large, or a row has too many or too few cells.
    """
    if isinstance(source, TablePart):
        return source
    if isinstance(source, Table):
        return TablePart(table=source)
    columns, rows = _of_text(source) if isinstance(source, str | PathLike) else _of_rows(source)
    return TablePart(table=Table(columns=columns, rows=[[_scalar(cell) for cell in row] for row in rows]))


def _read(path: str | PathLike[str], what: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InvalidRequest(f"{what}: {path} cannot be read: {told}", param=what) from None
    if len(data) > MOST_BYTES:
        raise InvalidRequest(f"{what}: {path} has more than {MOST_BYTES} bytes", param=what)
    return data


def _of_text(source: str | PathLike[str]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of CSV: of the text itself if it has several lines, else of the file."""
    if isinstance(source, str) and "\n" in source:
        text = source
    else:
        try:
            text = _read(source, "table").decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidRequest(f"table: {source} is not UTF-8 text", param="table") from None
    first = text.lstrip().partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        rows: list[list[Any]] = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error as error:
        raise InvalidRequest(f"table: is not CSV: {error}", param="table") from None
    if not rows:
        raise InvalidRequest("table: is empty", param="table")
    return [str(name).strip() for name in rows[0]], rows[1:]


def _of_rows(source: Any) -> tuple[list[str], Iterable[Iterable[Any]]]:
    if isinstance(source, Mapping):
        return [str(name) for name in source], _rows_of_columns(source)
    if hasattr(source, "itertuples"):  # pandas
        return [str(name) for name in source.columns], list(source.itertuples(index=False, name=None))
    if hasattr(source, "columns") and callable(getattr(source, "rows", None)):  # polars
        return [str(name) for name in source.columns], source.rows()
    rows = list(source) if isinstance(source, Iterable) else []
    if rows and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        return [str(name) for name in names], [[row.get(name) for name in names] for row in rows]
    if rows and all(isinstance(row, Sequence) and not isinstance(row, str | bytes) for row in rows):
        return [str(name) for name in rows[0]], rows[1:]
    raise InvalidRequest(
        "table: give a CSV file, CSV text, rows as dicts, rows of cells after a row of names, columns by name, or a"
        " data frame",
        param="table",
    )


def _rows_of_columns(source: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    for name, cells in source.items():
        if not isinstance(cells, Iterable) or isinstance(cells, str | bytes):
            raise InvalidRequest(f"table: the column {name} must be a list of cells, not {cells!r:.50}", param="table")
    columns = {name: list(cells) for name, cells in source.items()}
    if len(set(map(len, columns.values()))) > 1:
        counts = ", ".join(f"{name} {len(cells)}" for name, cells in columns.items())
        raise InvalidRequest(f"table: the columns have different numbers of cells: {counts}", param="table")
    return list(zip(*columns.values(), strict=True))


def _scalar(value: Any) -> Scalar:
    """A cell as JSON has it. Numbers that JSON lacks become empty, dates ISO 8601."""
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # numpy
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return None if value != value else value.isoformat()  # pandas' NaT is unequal to itself
    return str(value)
