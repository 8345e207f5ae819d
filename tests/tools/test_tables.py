from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import fmean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.tool import ProjectData, ToolContext, ToolRefused
from tools.builtin import chart_sql, describe_table, list_tables, query_sql, summarise_column
from tools.vision.advice import render
from tools.vision.rows import measures_of_rows

FILE = "trees.db"
ROWS = [
    ("2024", "oak", 12, 3.5), ("2024", "elm", 7, 2.0), ("2025", "oak", 20, None), ("2025", "elm", 4, 1.5),
    ("2025", "ash", None, 9.25),
]  # fmt: skip


NUMBERS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ToolContext:
    data = tmp_path_factory.mktemp("data")
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute('CREATE TABLE planted (year TEXT, "kind of tree" TEXT, trees INTEGER, metres REAL)')
        database.executemany("INSERT INTO planted VALUES (?, ?, ?, ?)", ROWS)
        database.execute("CREATE TABLE empty (a, b)")
        database.execute("CREATE TABLE wages (name, euros)")
        database.execute("INSERT INTO wages VALUES ('Ada', 5000)")
    project = ProjectData(database=FILE, tables=("planted", "empty"))
    return ToolContext("run:0:0", "default", "forester", "session", "run", data, project=project)


def test_tables_are_listed_with_their_columns(context: ToolContext) -> None:
    assert list_tables(context) == [
        {"table": "planted", "columns": ["year", "kind of tree", "trees", "metres"]},
        {"table": "empty", "columns": ["a", "b"]},
    ]


def test_a_table_is_described_by_its_values(context: ToolContext) -> None:
    assert describe_table(context, "Planted") == {
        "table": "planted",
        "rows": 5,
        "columns": [
            {"column": "year", "type": "text", "distinct": 2, "values": ["2024", "2025"]},
            {"column": "kind of tree", "type": "text", "distinct": 3, "values": ["ash", "elm", "oak"]},
            {"column": "trees", "type": "number", "distinct": 4, "smallest": 4, "largest": 20},
            {"column": "metres", "type": "number", "distinct": 4, "smallest": 1.5, "largest": 9.25},
        ],
    }
    assert describe_table(context, "empty") == {
        "table": "empty", "rows": 0, "columns": [{"column": "a", "distinct": 0}, {"column": "b", "distinct": 0}]
    }  # fmt: skip


def test_a_column_of_numbers_is_summarised(context: ToolContext) -> None:
    assert summarise_column(context, "planted", "METRES") == {
        "table": "planted", "column": "metres", "rows": 5, "empty": 1, "distinct": 4, "smallest": 1.5,
        "largest": 9.25, "sum": 16.25, "mean": 4.0625, "median": 2.75,
    }  # fmt: skip


def test_a_column_of_texts_is_summarised_by_the_most_frequent(context: ToolContext) -> None:
    found = summarise_column(context, "planted", "kind of tree")
    assert found["most_frequent"] == [["elm", 2], ["oak", 2], ["ash", 1]]
    assert summarise_column(context, "empty", "a") == {
        "table": "empty", "column": "a", "rows": 0, "empty": 0, "distinct": 0
    }  # fmt: skip


@given(st.lists(st.integers(-(10**9), 10**9) | st.none(), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_figures_are_those_of_the_values(
    tmp_path_factory: pytest.TempPathFactory, context: ToolContext, cells: list[int | None]
) -> None:
    data = tmp_path_factory.mktemp("figures")
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute("CREATE TABLE planted (n)")
        database.executemany("INSERT INTO planted VALUES (?)", [(cell,) for cell in cells])
    project = ProjectData(database=FILE, tables=("planted",))
    found = summarise_column(ToolContext("k", "t", "a", "s", "r", data, project=project), "planted", "n")
    known = [cell for cell in cells if cell is not None]
    assert (found["rows"], found["empty"]) == (len(cells), len(cells) - len(known))
    if known:
        assert (found["smallest"], found["largest"], found["sum"]) == (min(known), max(known), sum(known))
        assert found["mean"] == pytest.approx(fmean(known), abs=1e-4)
        assert found["median"] == pytest.approx(median(known), abs=1e-4)


@pytest.fixture
def odd(tmp_path: Path) -> ToolContext:
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.executescript("""
            CREATE TABLE files (name TEXT, content BLOB);
            INSERT INTO files VALUES ('a', zeroblob(200000)), ('b', zeroblob(5));
            CREATE TABLE ids (id INTEGER);
            INSERT INTO ids VALUES (9223372036854775807), (9223372036854775806);
            CREATE TABLE wages (euros); CREATE VIEW paid AS SELECT euros FROM wages;
        """)
    project = ProjectData(database=FILE, tables=("files", "ids", "paid", "gone"))
    return ToolContext("run:0:0", "default", "forester", "session", "run", tmp_path, project=project)


def test_one_table_that_cannot_be_read_does_not_hide_the_others(odd: ToolContext) -> None:
    files, ids, paid, gone = list_tables(odd)
    assert files == {"table": "files", "columns": ["name", "content"]}
    assert ids == {"table": "ids", "columns": ["id"]}
    assert "views over them" in paid["error"]
    assert "no such table: gone" in gone["error"]


def test_one_long_value_does_not_hide_the_other_columns(odd: ToolContext) -> None:
    assert describe_table(odd, "files") == {
        "table": "files",
        "rows": 2,
        "columns": [
            {"column": "name", "type": "text", "distinct": 2, "values": ["a", "b"]},
            {"column": "content", "error": "A value has more than 100,000 bytes. Leave its column out."},
        ],
    }


def test_a_sum_above_the_largest_whole_number_is_rounded(odd: ToolContext) -> None:
    found = summarise_column(odd, "ids", "id")
    assert (found["largest"], found["sum"]) == (2**63 - 1, pytest.approx(2.0**64))


@pytest.mark.parametrize("name", ["wages", "sqlite_master", "planted; DROP TABLE planted", '"', 'planted" --'])
def test_other_tables_and_columns_are_unknown(context: ToolContext, name: str) -> None:
    for call in (lambda: describe_table(context, name), lambda: summarise_column(context, name, "euros")):
        with pytest.raises(ToolRefused, match=r"There is no table .*\. Known: planted, empty\."):
            call()
    with pytest.raises(ToolRefused, match=r"There is no column .*\. Known: year,"):
        summarise_column(context, "planted", name)


def test_a_project_without_a_database_has_nothing_to_tell(context: ToolContext, tmp_path: Path) -> None:
    bare = ToolContext("k", "t", "a", "s", "r", tmp_path)
    for call in (lambda: list_tables(bare), lambda: chart_sql(bare, "SELECT 1, 2")):
        with pytest.raises(ToolRefused, match="the project names none"):
            call()


# charts


def test_a_chart_has_the_rows_of_the_query(context: ToolContext) -> None:
    sql = 'SELECT "kind of tree", sum(trees) AS trees FROM planted GROUP BY 1 HAVING sum(trees) > 0 ORDER BY 2 DESC'
    found = chart_sql(context, sql)
    assert found["chart"] == "bar"
    assert found["key_points"][0] == "largest value of trees: 32 at oak"
    assert [(row["category"], row["value"]) for row in found["vega_lite"]["data"]["values"]] == [
        tuple(row) for row in query_sql(context, sql)["rows"]
    ]
    assert found["vega_lite"]["encoding"]["x"]["title"] == "kind of tree"
    assert render(found["vega_lite"]).startswith(b"\x89PNG")


def test_two_columns_of_names_become_categories_and_series(context: ToolContext) -> None:
    found = chart_sql(context, 'SELECT year, "kind of tree", trees FROM planted WHERE trees > 0', "line")
    values = found["vega_lite"]["data"]["values"]
    assert found["chart"] == "line"
    assert [(row["category"], row["series"], row["value"]) for row in values] == [
        ("2024", "oak", 12), ("2025", "oak", 20), ("2024", "elm", 7), ("2025", "elm", 4)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["bar", "line", "pie"])
def test_the_kind_can_be_chosen(context: ToolContext, kind: str) -> None:
    found = chart_sql(context, "SELECT year, sum(trees) FROM planted GROUP BY 1", kind)
    assert found["chart"] == kind
    assert render(found["vega_lite"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("sql", "kind", "told"),
    [
        ("SELECT year FROM planted", "best", "needs a column of numbers"),
        ("SELECT * FROM planted WHERE trees > 99", "best", "no rows"),
        ("SELECT year, trees FROM planted", "best", "Several rows have the same year: '2024'"),
        ('SELECT year, "kind of tree", year || year, trees FROM planted', "best", "one column of names"),
        ("SELECT year, sum(trees), sum(metres) FROM planted GROUP BY 1", "pie", "A pie shows one column"),
        ("SELECT year, -sum(trees) FROM planted GROUP BY 1", "pie", "all above 0"),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 99) SELECT x, x FROM c", "best",
         "more than 50 rows"),
        ("DELETE FROM planted", "best", "Only SELECT"),
        ("SELECT year, sum(trees) AS n, sum(metres) AS n FROM planted GROUP BY 1", "best",
         "Several columns have the name"),
        (f"SELECT n || '{'x' * 70}', {', '.join(f'n AS c{n}' for n in range(30))} FROM ({NUMBERS} LIMIT 50)", "bar",
         "too much text or too many numbers"),
        ("SELECT name, euros FROM wages", "best", "No table wages"),
    ],
)  # fmt: skip
def test_what_no_chart_shows_is_refused_with_advice(context: ToolContext, sql: str, kind: str, told: str) -> None:
    with pytest.raises(ToolRefused, match=told):
        chart_sql(context, sql, kind)


def test_texts_of_the_data_are_no_expressions_of_the_chart(context: ToolContext) -> None:
    found = chart_sql(context, "SELECT 'datum.value\n' AS \"a[b].c\", 3 UNION SELECT '{\"signal\": 1}', 4")
    assert render(found["vega_lite"]).startswith(b"\x89PNG")
    assert {row["value"] for row in found["vega_lite"]["data"]["values"]} == {3, 4}


@pytest.mark.parametrize(
    ("rows", "categories", "series"),
    [
        ([(2024, 5), (2025, 6)], ("2024", "2025"), ("n",)),  # years
        ([("a", 5), ("b", None)], ("a", "b"), ("n",)),
        ([(1.5, 5), (2.5, 6)], ("1.5", "2.5"), ("n",)),  # of numbers only, the first are names
    ],
)
def test_a_column_of_names_is_found(rows: list[tuple[object, ...]], categories: object, series: object) -> None:
    found = measures_of_rows(("x", "n"), rows)
    assert (found.categories, found.series, found.axis) == (categories, series, "x")


def test_counts_that_look_like_years_are_no_names() -> None:
    found = measures_of_rows(("region", "units", "revenue"), [("West", 1950, 100), ("East", 2010, 50)])
    assert (found.categories, found.series) == (("West", "East"), ("units", "revenue"))
    for name, rows in (("first year", [("a", 1950, 1), ("b", 1960, 2)]), ("y", [("a", 1950, 1), ("a", 1960, 2)])):
        years = measures_of_rows(("region", name, "revenue"), rows)
        assert (years.categories, years.axis) == (("1950", "1960"), name)


def test_points_in_time_are_categories_even_if_they_are_fewer() -> None:
    found = measures_of_rows(("p", "m", "n"), [("a", "2025-01", 1), ("b", "2025-01", 2), ("c", "2025-02", 3)])
    assert (found.categories, found.series) == (("2025-01", "2025-02"), ("a", "b", "c"))
    assert found.values == ((1, None), (2, None), (None, 3))


CELLS = st.none() | st.text(max_size=5) | st.integers(-9999, 9999) | st.floats()


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[CELLS] * n), max_size=8)))
def test_any_rows_make_measures_or_a_refusal(rows: list[tuple[object, ...]]) -> None:
    columns = [f"c{place}" for place in range(len(rows[0]) if rows else 1)]
    try:
        found = measures_of_rows(columns, rows)
    except ValueError:
        return
    shown = sum(value is not None for row in found.values for value in row)
    assert 0 < shown <= len(rows) * len(columns)
    assert len(found.categories) == len(set(found.categories))
    assert all(len(row) == len(found.categories) for row in found.values)
