"""Built-in tools. An agent gets those that are listed in its file."""

from tools.builtin.calculator import calculator
from tools.builtin.code import check_constraints, compile_code, scan_code
from tools.builtin.code_tests import run_tests
from tools.builtin.growth import measure_growth
from tools.builtin.http import http_get
from tools.builtin.image import read_image
from tools.builtin.knowledge import check_facts, search_knowledge
from tools.builtin.python import run_python
from tools.builtin.sql import chart_sql, query_sql
from tools.builtin.tables import describe_table, list_tables, summarise_column

TOOLS = (
    search_knowledge,
    check_facts,
    calculator,
    run_python,
    http_get,
    query_sql,
    chart_sql,
    list_tables,
    describe_table,
    summarise_column,
    read_image,
    scan_code,
    check_constraints,
    compile_code,
    run_tests,
    measure_growth,
)

__all__ = [
    "TOOLS",
    "calculator",
    "chart_sql",
    "check_constraints",
    "check_facts",
    "compile_code",
    "describe_table",
    "http_get",
    "list_tables",
    "measure_growth",
    "query_sql",
    "read_image",
    "run_python",
    "run_tests",
    "scan_code",
    "search_knowledge",
    "summarise_column",
]
