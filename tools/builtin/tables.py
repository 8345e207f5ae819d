"""Tools that tell what the project's database holds: its tables, their columns, and figures of one column."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from flightloop.tool import ToolContext, ToolRefused, tool
from tools.builtin.selects import ValueTooLong, select, tables_of

FEW = 12
"""Different values up to which a column of texts is described by all of them."""
TOP = 5
MOST_COLUMNS = 60
LARGEST = 2**63 - 1
"""Largest whole number of SQLite."""
PLACES = 4
"""Decimal places of computed figures."""

Name = Annotated[str, Field(min_length=1, max_length=100)]


@tool(effect="pure", timeout_s=10, returns_untrusted=True)
def list_tables(context: ToolContext) -> Any:
    """List the tables of the project's database with their columns."""
    return [_listed(context, table) for table in tables_of(context)]


@tool(effect="pure", timeout_s=30, returns_untrusted=True)
def describe_table(context: ToolContext, table: Name) -> Any:
    """Describe a table: its columns, their values, and how many rows it has.

    Args:
        table: name of the table
    """
    table = _known("table", table, tables_of(context))
    names = _columns(context, table)
    try:
        return {"table": table, **_of_columns(context, table, names)}
    except ValueTooLong:  # in one of the columns
        ((rows,),) = select(context, f"SELECT count(*) FROM {_quoted(table)}").rows
        return {"table": table, "rows": rows, "columns": [_apart(context, table, name) for name in names]}


@tool(effect="pure", timeout_s=30, returns_untrusted=True)
def summarise_column(context: ToolContext, table: Name, column: Name) -> Any:
    """Summarise a column: of numbers the sum, mean, median and extremes, of texts the most frequent ones.

    Args:
        table: name of the table
        column: name of the column
    """
    table = _known("table", table, tables_of(context))
    column = _known("column", column, _columns(context, table))
    name, source = _quoted(column), _quoted(table)
    figures = f"count(*), count({name}), count(DISTINCT {name}), total(typeof({name}) IN ('text', 'blob'))"
    ((rows, filled, distinct, texts),) = select(context, f"SELECT {figures} FROM {source}").rows
    head = {"table": table, "column": column, "rows": rows, "empty": rows - filled, "distinct": distinct}
    if not filled:
        return head
    if texts:
        counts = f"SELECT {name}, count(*) FROM {source} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        return {**head, "most_frequent": select(context, counts, TOP).rows}
    return {**head, **_figures(context, name, source, filled)}


def _listed(context: ToolContext, table: str) -> dict[str, Any]:
    try:
        return {"table": table, "columns": _columns(context, table)}
    except ToolRefused as refusal:  # it is missing, or a view over other tables
        return {"table": table, "error": str(refusal)}


def _of_columns(context: ToolContext, table: str, names: list[str]) -> dict[str, Any]:
    asked = [
        f"{figure}({_quoted(name)})" if figure != "count" else f"count(DISTINCT {_quoted(name)})"
        for name in names
        for figure in ("count", "min", "max")
    ]
    (found,) = select(context, f"SELECT count(*), {', '.join(asked)} FROM {_quoted(table)}").rows
    columns = [
        _described(context, table, name, *found[1 + 3 * place : 4 + 3 * place]) for place, name in enumerate(names)
    ]
    return {"rows": found[0], "columns": columns}


def _apart(context: ToolContext, table: str, name: str) -> Any:
    """One column's description, or why there is none."""
    try:
        return _of_columns(context, table, [name])["columns"][0]
    except ValueTooLong as refusal:
        return {"column": name, "error": str(refusal)}


def _figures(context: ToolContext, name: str, source: str, filled: int) -> dict[str, Any]:
    sql = f"SELECT min({name}), max({name}), total({name}), avg({name}) FROM {source}"
    ((low, high, total, mean),) = select(context, sql).rows
    if max(abs(low or 0), abs(high or 0)) * filled <= LARGEST:  # sum() is exact, but fails above
        ((total,),) = select(context, f"SELECT sum({name}) FROM {source}").rows
    both = 2 - filled % 2
    middle = f"SELECT {name} FROM {source} WHERE {name} IS NOT NULL ORDER BY 1 LIMIT {both} OFFSET {(filled - 1) // 2}"
    ((median,),) = select(context, f"SELECT avg(m) FROM (SELECT {name} AS m FROM ({middle}))").rows
    return {
        "smallest": low, "largest": high, "sum": _short(total), "mean": _short(mean), "median": _short(median)
    }  # fmt: skip


def _described(context: ToolContext, table: str, column: str, distinct: int, low: Any, high: Any) -> dict[str, Any]:
    head = {"column": column, "type": "text" if isinstance(high, str) else "number", "distinct": distinct}
    if not distinct:
        return {"column": column, "distinct": 0}
    if isinstance(high, str) and distinct <= FEW:
        name = _quoted(column)
        found = select(context, f"SELECT DISTINCT {name} FROM {_quoted(table)} WHERE {name} IS NOT NULL ORDER BY 1")
        return {**head, "values": [value for (value,) in found.rows]}
    return {**head, "smallest": low, "largest": high}


def _columns(context: ToolContext, table: str) -> list[str]:
    return list(select(context, f"SELECT * FROM {_quoted(table)} LIMIT 0").columns[:MOST_COLUMNS])


def _known(what: str, name: str, names: tuple[str, ...] | list[str]) -> str:
    """The name as the database has it. Raises ToolRefused that lists the known ones."""
    for known in names:
        if known.lower() == name.lower():
            return known
    raise ToolRefused(f"There is no {what} {name}. Known: {', '.join(names)}.")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _short(value: Any) -> Any:
    return round(value, PLACES) if isinstance(value, float) else value
