"""Hostile and odd SQL: bounds on work and results, and values and names that JSON or SQLite treat in their own way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flightloop.tool import ProjectData, ToolContext, ToolRefused
from tools.builtin import query_sql, selects


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    """A database with values and names that others lack."""
    with closing(sqlite3.connect(tmp_path / "odd.db")) as database, database:
        database.executescript("""
            CREATE TABLE odd (t TEXT, x REAL, interrupted);
            INSERT INTO odd VALUES (CAST(x'ff41' AS TEXT), 9e999, 1);
            CREATE TABLE \u00c4ra (n); CREATE TABLE \u00e4ra (n); INSERT INTO \u00e4ra VALUES ('hidden');
            CREATE VIEW seen AS SELECT n FROM \u00e4ra;
        """)
    project = ProjectData(database="odd.db", tables=("odd", "\u00c4ra", "seen"))
    return ToolContext("run:0:0", "default", "agent", "session", "run", tmp_path, project=project)


def test_the_clock_is_looked_at_before_many_slow_instructions(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selects, "MAX_SECONDS", 0)
    slow = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 90) SELECT sum(instr('a', n)) FROM t"
    with pytest.raises(ToolRefused, match="took longer"):
        query_sql(context, slow)


def test_rows_together_are_bounded(context: ToolContext) -> None:
    wide = f"WITH t(x) AS (SELECT hex(zeroblob(49000))) SELECT {', '.join('x' * 30)} FROM t"
    with pytest.raises(ToolRefused, match="more than 2,000,000 bytes"):
        query_sql(context, wide)


def test_nested_calls_do_not_occupy_the_parser(context: ToolContext) -> None:
    nested = f"SELECT {'DATE(' * 40}1{')' * 40}"
    with pytest.raises(ToolRefused, match="more than 12 deep"):
        query_sql(context, nested)
    assert query_sql(context, f"SELECT {'(' * 12}'((((((('{')' * 12}")["rows"] == [["((((((("]]


def test_values_that_json_lacks_do_not_hide_the_others(context: ToolContext) -> None:
    assert query_sql(context, "SELECT * FROM odd")["rows"] == [["\ufffdA", None, 1]]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM seen", r"Only these tables may be read, and views over them: odd"),
        ("SELECT 1 WHERE 1 IN \u00e4ra", "Only these tables may be read"),
        ("SELECT * FROM \u00e4ra", "No table \u00e4ra"),  # SQLite tells them apart
        ("SELECT interrupted.t FROM odd", "no such column"),
        ("SELECT '\ud800'", "can't encode"),
    ],
)
def test_refusals_say_what_is_wrong(context: ToolContext, sql: str, told: str) -> None:
    with pytest.raises(ToolRefused, match=told):
        query_sql(context, sql)
