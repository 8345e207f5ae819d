"""Statements as each database's driver takes them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import psycopg
import pytest

from agent.store.sql import erasure
from agent.store.sql.compaction import TABLES
from agent.store.sql.connection import first_line
from agent.store.sql.statement import Statement

QUERY = Statement(
    """
    SELECT a FROM t
    WHERE b LIKE '%x%' [AND c = :c] [AND d = :d AND NOT AMONG(e, :names)] ORDER BY a LIMIT :most
    """
)


def test_parameters_are_written_as_the_driver_wants_them() -> None:
    given = {"c": 1, "d": 2, "names": {"x"}, "most": 3}
    assert QUERY.text("sqlite", given) == (
        "SELECT a FROM t WHERE b LIKE '%x%' AND c = :c AND d = :d"
        " AND NOT e IN (SELECT value FROM json_each(:names)) ORDER BY a LIMIT :most"
    )
    assert QUERY.text("postgresql", given) == (
        "SELECT a FROM t WHERE b LIKE '%%x%%' AND c = %(c)s AND d = %(d)s"
        " AND NOT e = ANY(CAST(%(names)s AS text[])) ORDER BY a LIMIT %(most)s"
    )
    assert QUERY.values("sqlite", given) == {**given, "names": '["x"]'}
    assert QUERY.values("postgresql", given) == {**given, "names": ["x"]}


def test_a_condition_is_left_out_where_a_parameter_is_none() -> None:
    given = {"c": None, "d": None, "names": (), "most": 3}
    assert " ".join(QUERY.text("sqlite", given).split()) == "SELECT a FROM t WHERE b LIKE '%x%' ORDER BY a LIMIT :most"
    given["c"] = 0
    assert "AND c = %(c)s ORDER" in " ".join(QUERY.text("postgresql", given).split())


def test_an_inserts_parameters_are_named_as_its_columns() -> None:
    assert Statement.insert("t", "a", "b").text("sqlite", {}) == "INSERT INTO t (a, b) VALUES (:a, :b)"


def test_all_tables_that_erasure_changes_are_compacted() -> None:
    given: dict[str, Any] = defaultdict(lambda: 1)
    texts = [one.text("postgresql", given) for one in vars(erasure).values() if isinstance(one, Statement)]
    changed = {found[1] for text in texts if (found := re.match(r"(?:DELETE FROM|UPDATE) (\w+)", text))}
    assert {"events", "reservations"} <= changed <= set(TABLES)


@pytest.mark.parametrize(("message", "line"), [("no server\nLINE 1: SELECT", "no server"), ("", "OperationalError")])
def test_an_error_is_told_in_one_line(message: str, line: str) -> None:
    assert first_line(psycopg.OperationalError(message)) == line
