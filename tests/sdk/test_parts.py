"""Content parts from files, rows and data frames."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.content import ImagePart, ImageUrl, Table, TablePart
from flightloop.errors import InvalidRequest
from flightloop.parts import image_part, table_part

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
A_TABLE = Table(columns=["a", "b"], rows=[["x", 1], ["y", None]])


class Polars:
    """As polars' data frames look: column names, and a method that returns tuples."""

    columns = ("a", "b")

    def rows(self) -> list[tuple[Any, ...]]:
        return [("x", 1), ("y", None)]


@pytest.mark.parametrize(
    "source",
    [
        A_TABLE,
        TablePart(table=A_TABLE),
        [{"a": "x", "b": 1}, {"a": "y"}],
        [["a", "b"], ["x", np.int64(1)], ["y", float("nan")]],
        {"a": ["x", "y"], "b": [1, None]},
        pd.DataFrame({"a": ["x", "y"], "b": [1, None]}),
        Polars(),
    ],
)
def test_a_table_of_many_kinds(source: Any) -> None:
    assert table_part(source).table == A_TABLE


def test_cells_become_json() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2024-01-02", None]), "kind": pd.Categorical(["p", "q"])})
    assert table_part(frame).table.rows == [["2024-01-02T00:00:00", "p"], [None, "q"]]
    cells = [date(2024, 1, 2), Decimal("1.5"), True, Path("x")]
    assert table_part([["a", "b", "c", "d"], cells]).table.rows == [["2024-01-02", 1.5, True, "x"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_from_a_file_and_as_text(tmp_path: Path, delimiter: str) -> None:
    text = (
        delimiter.join(("name", "n")) + "\n" + delimiter.join(("one, two" if delimiter != "," else "one", "2")) + "\n"
    )
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for source in (path, str(path), text):
        table = table_part(source).table
        assert (table.columns, table.rows[0][1]) == (["name", "n"], "2")


@given(st.lists(st.lists(st.text(alphabet='ab,"\n ', min_size=1, max_size=5), min_size=2, max_size=2), max_size=6))
def test_what_csv_writes_is_read(rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([["first", "second"], *rows])
    assert table_part(written.getvalue() + "\n").table == Table(columns=["first", "second"], rows=rows)


@pytest.mark.parametrize(
    ("source", "says"),
    [("none.csv", "cannot be read"), ("a\0b", "cannot be read"), ("\n\n", "cannot be read|is empty"), (3, "give a CSV"),
     ([1, 2], "give a CSV"), ({"a": [1, 2], "b": [1]}, "different numbers of cells: a 2, b 1"),
     ({"a": 1}, "column a must be a list"), ({"a": "xy"}, "column a must be a list")],
)  # fmt: skip
def test_other_tables_are_refused(source: Any, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        table_part(source)


def test_an_image_of_many_kinds(tmp_path: Path) -> None:
    path = tmp_path / "image.dat"
    path.write_bytes(PNG)
    url = image_part(PNG).image_url.url
    assert url.startswith("data:image/png;base64,iVBOR")
    assert {image_part(source).image_url.url for source in (path, str(path))} == {url}
    for given_url in ("https://example.com/a.png", "data:image/png;base64,AA=="):
        assert image_part(given_url).image_url.url == given_url
    part = ImagePart(image_url=ImageUrl(url=url))
    assert image_part(part) is part


@pytest.mark.parametrize("source", [b"GIF89a", b"RIFF\0\0\0\0WAVE", "none.png", b""])
def test_other_images_are_refused(source: Any) -> None:
    with pytest.raises(InvalidRequest, match="image: "):
        image_part(source)
