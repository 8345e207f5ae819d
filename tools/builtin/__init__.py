"""Built-in tools. An agent gets those that are listed in its file."""

from tools.builtin.calculator import calculator
from tools.builtin.code import scan_code
from tools.builtin.http import http_get
from tools.builtin.image import read_image
from tools.builtin.knowledge import check_facts, search_knowledge
from tools.builtin.python import run_python
from tools.builtin.sql import query_sql

TOOLS = (search_knowledge, check_facts, calculator, run_python, http_get, query_sql, read_image, scan_code)

__all__ = [
    "TOOLS",
    "calculator",
    "check_facts",
    "http_get",
    "query_sql",
    "read_image",
    "run_python",
    "scan_code",
    "search_knowledge",
]
