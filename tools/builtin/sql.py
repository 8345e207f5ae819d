"""Tools for read-only SQL over the project's database: rows, or a chart of them."""

from __future__ import annotations

import json
from typing import Any, Literal

from flightloop.tool import ToolContext, ToolRefused, tool
from tools.builtin.selects import MAX_ROWS, Sql, select

MOST_KEY_POINTS = 12
MOST_CHART_BYTES = 48 * 1024
"""Of a specification. A longer result of a tool would be cut, and no longer be one."""


@tool(effect="pure", timeout_s=10, returns_untrusted=True)
def query_sql(context: ToolContext, sql: Sql) -> Any:
    """Read the project's database with one SQL SELECT.

    Args:
        sql: one SELECT statement
    """
    found = select(context, sql)
    result: dict[str, Any] = {"columns": list(found.columns), "rows": found.rows}
    if found.more:
        result["note"] = f"only the first {MAX_ROWS} rows are shown"
    return result


@tool(effect="pure", timeout_s=10, returns_untrusted=True)
def chart_sql(context: ToolContext, sql: Sql, kind: Literal["best", "bar", "line", "pie"] = "best") -> Any:
    """Draw a chart of the rows of one SQL SELECT: a column of names first, then columns of numbers.

    Args:
        sql: one SELECT statement
        kind: kind of chart; best chooses one that fits the data
    """
    from tools.vision.advice import advise, chart_of  # at the first chart: a host starts sooner without
    from tools.vision.key_points import key_points
    from tools.vision.rows import measures_of_rows

    found = select(context, sql)
    if found.more:
        raise ToolRefused(f"The query has more than {MAX_ROWS} rows, too many for a chart. Group them, or use LIMIT.")
    try:
        measures = measures_of_rows(found.columns, found.rows)
        advice = advise(measures) if kind == "best" else chart_of(measures, kind)
    except ValueError as error:
        raise ToolRefused(f"{error}") from None
    if len(json.dumps(advice.spec, ensure_ascii=False).encode()) > MOST_CHART_BYTES:
        raise ToolRefused("The rows have too much text or too many numbers for a chart. Select fewer columns or rows.")
    points = [point.text for point in key_points(measures)[:MOST_KEY_POINTS]]
    return {"chart": advice.chart, "reason": advice.reason, "key_points": points, "vega_lite": advice.spec}
