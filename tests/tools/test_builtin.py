from __future__ import annotations

import ast
import ipaddress
import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed
from flightloop.tool import ToolContext, ToolRefused
from tests.shop import SHOP
from tools.builtin.calculator import evaluate
from tools.builtin.http import MAX_BYTES, http_get
from tools.builtin.knowledge import search_knowledge
from tools.builtin.selects import MAX_ROWS, check
from tools.builtin.sql import query_sql
from tools.config import ToolsConfig
from tools.fetching import check_address, check_host
from tools.host import ToolHosts


def context(data: Path, egress: tuple[str, ...] = ()) -> ToolContext:
    return ToolContext("run:0:0", "default", "support", "session", "run", data, egress, project=SHOP)


# calculator


@pytest.mark.parametrize(
    ("expression", "value"),
    [("1 + 2 * 3", 7), ("(129.90 - 20) * 0.19", 20.881), ("0.1 + 0.2", 0.3), ("2 ^ 10", 1024), ("-7 // 2", -4),
     ("max(1, 2.5) + abs(-1)", 3.5), ("round(2.345, 1)", 2.3), ("sqrt(16)", 4.0), ("2 * pi", 6.28318530718)],
)  # fmt: skip
def test_arithmetic_is_calculated(expression: str, value: float) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["", "1 +", "1 / 0", "9 ** 9 ** 9", "2 ** 100000", "10 ** 61", "(-8) ** 0.5", "__import__('os')", "'a' * 9", "True",
     "[1]", "a", "(lambda: 1)()", "(1).real", "1 if 1 else 2", "max()", "1e308 * 10", "1,000", "+".join("1" * 150),
     "(" * 250 + "1" + ")" * 250, "max(1, key=2)", "9" * 200 + "**" + "9" * 50,
     "round(5, -1000000000)", "round(5, 10 ** 50)", "round(5, 0.5)"],
)  # fmt: skip
def test_what_is_no_arithmetic_or_too_big_is_refused(expression: str) -> None:
    with pytest.raises(ToolRefused):
        evaluate(expression)


@given(st.text(alphabet="0123456789.+-*/%^() ,aemxinbsqrt", max_size=60) | st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_a_number_or_refused(expression: str) -> None:
    try:
        value = evaluate(expression)
    except ToolRefused:
        return
    assert abs(value) <= 10**60


SUMS = st.recursive(
    st.integers(0, 99).map(str),
    lambda below: st.tuples(below, st.sampled_from("+-*"), below).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=10,
)


@given(SUMS)
def test_integers_are_exact(expression: str) -> None:
    tree = compile(ast.parse(expression, mode="eval"), "", "eval")
    assert evaluate(expression) == eval(tree, {})


# sql


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    reseed(folder / FILE)
    return folder


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT COUNT(*) FROM orders", [[900]]),
        ("SELECT name FROM customers WHERE email = 'jonas.petrov@example.com';", [["Jonas Petrov"]]),
        ("WITH x AS (SELECT * FROM orders WHERE id < 10003) SELECT COUNT(*) FROM x", [[2]]),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3) SELECT x FROM c",
            [[1], [2], [3]],
        ),
        ("SELECT 1 UNION SELECT 2", [[1], [2]]),
        ("SELECT X'00ff'", [["00ff"]]),
    ],
)
def test_selects_are_answered(sql: str, rows: list[list[object]], data: Path) -> None:
    assert query_sql(context(data), sql)["rows"] == rows


FORBIDDEN = [
    "DELETE FROM orders",
    "UPDATE orders SET status = 'cancelled'",
    "INSERT INTO refunds VALUES (1, 10001, 1, 'x', 'y')",
    "DROP TABLE orders",
    "SELECT 1; DELETE FROM orders",
    "SELECT 1; SELECT 2",
    "PRAGMA table_info(orders)",
    "SELECT * FROM pragma_table_info('orders')",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM receipts",
    "SELECT (SELECT value FROM settings)",
    "WITH receipts AS (SELECT * FROM receipts) SELECT * FROM receipts",
    "WITH sqlite_master AS (SELECT 1) SELECT * FROM main.sqlite_master",
    "WITH settings AS (SELECT 1) SELECT * FROM main.settings",
    "ATTACH DATABASE '/tmp/x.db' AS x",
    "VACUUM INTO '/tmp/x.db'",
    "SELECT load_extension('/tmp/x.so')",
    "SELECT writefile('/tmp/x', 'y')",
    "EXPLAIN SELECT 1",
    "WITH x AS (SELECT 1) DELETE FROM orders",
    "SELECT nothing FROM orders",
    "SELEC 1",
    "",
    ";",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_everything_else_is_refused(sql: str, data: Path) -> None:
    with pytest.raises(ToolRefused):
        query_sql(context(data), sql)


def test_rows_values_and_time_are_bounded(data: Path) -> None:
    many = query_sql(context(data), "SELECT id FROM orders")
    assert len(many["rows"]) == MAX_ROWS
    assert "first 50 rows" in many["note"]
    with pytest.raises(ToolRefused, match="longer than 3 s"):
        query_sql(context(data), "SELECT COUNT(*) FROM orders a, orders b, orders c, orders d")
    with pytest.raises(ToolRefused, match="more than 100,000 bytes"):
        query_sql(context(data), "SELECT zeroblob(1000000000)")


WORDS = re.findall(
    r"\S+",
    "SELECT DELETE UPDATE INSERT DROP FROM WHERE INTO SET VALUES WITH AS PRAGMA ATTACH orders receipts settings "
    "sqlite_master x 1 * ( ) , ; = 'a' \" -- /* */ UNION REPLACE TABLE",
)


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_text_writes_or_shows_what_is_hidden(data: Path, sql: str) -> None:
    with closing(sqlite3.connect(data / FILE)) as database:
        before = database.total_changes, database.execute("PRAGMA data_version").fetchone()
        try:
            shown = query_sql(context(data), sql)
        except ToolRefused:
            shown = {"columns": []}
        assert (database.total_changes, database.execute("PRAGMA data_version").fetchone()) == before
    assert "arguments_sha256" not in shown["columns"]


def test_names_of_queries_are_told() -> None:
    assert check("WITH a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM a, b", []) == {"a", "b"}


# knowledge


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("How many days do I have to return something?", "30 days"),
        ("is shipping free", "free for orders of 50 EUR"),
        ("gift card validity", "3 years"),
        ("parcel lost", "reports a parcel as lost"),
        ("delete my account", "removed after 14 days"),
        ("warranty for electronics", "24 months"),
    ],
)
def test_policies_are_found(query: str, said: str, tmp_path: Path) -> None:
    found = search_knowledge(context(tmp_path), query)
    assert said in " ".join(passage["text"] for passage in found)
    assert all(len(passage["text"]) < 400 for passage in found)
    assert len(found) <= 3


def test_own_documents_take_the_place_of_the_embedded_ones_and_changes_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    with pytest.raises(ToolRefused, match="no documents"):
        search_knowledge(context(tmp_path), "zebra")
    (folder / "animals.md").write_text("# Animals\n\n## Zebras\nA zebra has stripes.\n")
    assert search_knowledge(context(tmp_path), "zebra") == [
        {"document": "Animals", "text": "Zebras: A zebra has stripes."}
    ]
    (folder / "more.md").write_text("# Plants\n\nAn oak has leaves.\n")
    assert search_knowledge(context(tmp_path), "leaves")[0]["document"] == "Plants"
    with pytest.raises(ToolRefused, match="Nothing was found"):
        search_knowledge(context(tmp_path), "returns")


# python


@pytest.fixture
async def hosts() -> AsyncIterator[ToolHosts]:
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as made:
        yield made


async def run(hosts: ToolHosts, code: str, data: Path) -> dict[str, str]:
    outcome = await hosts.call("run_python", {"code": code}, context(data))
    assert outcome.ok, outcome.error
    return dict(outcome.content)


async def test_a_program_prints_and_its_last_value_is_shown(hosts: ToolHosts, tmp_path: Path) -> None:
    assert await run(hosts, "import math\nprint('hi')\nmath.sqrt(16)", tmp_path) == {
        "output": "hi\n4.0\n",
        "exit": "ok",
    }
    written = await run(hosts, "open('a', 'w').write('x' * 10)\nimport os\nprint(os.listdir())", tmp_path)
    assert written["output"] == "['a']\n"
    failed = await run(hosts, "def f():\n    return 1 / 0\nf()", tmp_path)
    assert failed["exit"] == "error 1"
    assert failed["output"].endswith("ZeroDivisionError: division by zero\n")
    assert (await run(hosts, "import sys; sys.exit(4)", tmp_path))["exit"] == "error 4"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os\nwhile True: os.fork()", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000')", "Permission denied"),
        ("x = bytearray(10 ** 11)", "MemoryError"),
        ("open('big', 'wb').write(b'x' * 10 ** 8)", "File too large"),
        ("[open('/dev/null') for _ in range(99)]", "Too many open files"),
        ("open('FOLDER/secret').read()", "PermissionError"),
        ("open('FOLDER/made', 'w')", "PermissionError"),
        ("import os; os.truncate('FOLDER/secret', 0)", "PermissionError"),
        ("import os; os.listdir('FOLDER')", "PermissionError"),
        ("import os; os.unlink('FOLDER/secret')", "PermissionError"),
    ],
)
async def test_a_program_is_kept_from_the_rest(hosts: ToolHosts, code: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    result = await run(hosts, code.replace("FOLDER", str(tmp_path)), tmp_path)
    assert said in result["output"]
    assert result["exit"] == "error 1"
    assert (tmp_path / "secret").read_text() == "key"
    assert os.listdir(tmp_path) == ["secret"]


@pytest.mark.slow
async def test_endless_programs_are_stopped_and_their_output_is_cut(hosts: ToolHosts, tmp_path: Path) -> None:
    result = await run(hosts, "while True: print('x' * 999)", tmp_path)
    assert result["exit"] in ("stopped: too much CPU time", "stopped after 10 s")
    assert len(result["output"]) == 16 * 1024
    assert "cut after 16384 bytes" in result["note"]
    assert (await run(hosts, "print('next')", tmp_path))["output"] == "next\n"


# http


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        kinds = {"/picture": "image/png", "/idna": "text/plain; charset=idna"}
        self.send_header("Content-Type", kinds.get(self.path, "text/plain; charset=utf-8"))
        self.end_headers()
        self.wfile.write(b"x" * (MAX_BYTES * 3) if self.path == "/big" else f"host {self.headers['Host']}".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


LOCAL = ("localhost:PORT", "127.0.0.1:PORT")


def on_port(egress: tuple[str, ...], port: int) -> tuple[str, ...]:
    return tuple(entry.replace("PORT", str(port)) for entry in egress)


async def test_listed_hosts_are_read(port: int, tmp_path: Path) -> None:
    told = context(tmp_path, on_port(LOCAL, port))
    page = await http_get(told, f"http://127.0.0.1:{port}/")
    assert (page["status"], page["text"]) == (200, f"host 127.0.0.1:{port}")
    assert (await http_get(told, f"http://127.0.0.1:{port}/missing"))["status"] == 404
    assert (await http_get(told, f"http://127.0.0.1:{port}/to//"))["text"] == f"host 127.0.0.1:{port}"
    assert "host" in (await http_get(told, f"http://127.0.0.1:{port}/idna"))["text"]
    big = await http_get(told, f"http://127.0.0.1:{port}/big")
    assert len(big["text"]) == MAX_BYTES
    assert "first" in big["note"]


@pytest.mark.parametrize(
    ("url", "egress", "said"),
    [
        ("http://127.0.0.1:PORT/", (), "not allowed. Allowed: none"),
        ("http://127.0.0.1:PORT/", ("api.example",), "not allowed"),
        ("http://127.0.0.1:PORT/", ("127.0.0.1:1",), "not allowed"),
        ("http://localhost:PORT/", ("localhost:PORT",), "is not public"),
        ("http://127.0.0.1:PORT/to/http://evil.example/", LOCAL, "evil.example is not allowed"),
        ("http://127.0.0.1:PORT/to/http://169.254.169.254/", LOCAL, "169.254.169.254 is not allowed"),
        ("http://127.0.0.1:PORT/to/file:///etc/passwd", LOCAL, "must begin with"),
        ("http://127.0.0.1:PORT/to/" + "to/" * 9 + "x", LOCAL, "redirects"),
        ("http://127.0.0.1:PORT/picture", LOCAL, "image/png, not text"),
        ("http://user:pw@127.0.0.1:PORT/", LOCAL, "user name or password"),
        ("file:///etc/passwd", LOCAL, "must begin with"),
        ("http://127.0.0.1:1/", ("127.0.0.1:1",), "can't be read"),
        ("http://no.such.host.invalid/", ("no.such.host.invalid",), "has no address"),
    ],
)
async def test_the_rest_is_refused(url: str, egress: tuple[str, ...], said: str, port: int, tmp_path: Path) -> None:
    if "to/to/" in url:
        loop = f"http://127.0.0.1:{port}/to//to/"
        url = loop + "/to/".join([""] * 9)
    with pytest.raises(ToolRefused, match=said):
        await http_get(context(tmp_path, on_port(egress, port)), url.replace("PORT", str(port)))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "::1", "fe80::1", "fd00::1", "::"],
)  # fmt: skip
def test_addresses_that_are_not_public_must_be_listed_themselves(address: str) -> None:
    parsed = ipaddress.ip_address(address)
    with pytest.raises(ToolRefused, match="not public"):
        check_address(parsed, 443, ("api.example",))
    check_address(parsed, 443, (address,))
    with pytest.raises(ToolRefused, match="not public"):
        check_address(ipaddress.ip_address("::ffff:127.0.0.1"), 443, ())
    check_address(ipaddress.ip_address("93.184.215.14"), 443, ())


def test_hosts_match_exactly() -> None:
    check_host("API.example", 443, ("api.example",))
    check_host("api.example", 8443, ("api.example:8443",))
    for host in ("evil-api.example", "x.api.example", "example", "api.example.evil"):
        with pytest.raises(ToolRefused):
            check_host(host, 443, ("api.example",))
    check_host("a.b.example", 443, ("*.example",))
    for host in ("example", "evil-example", "a.example.evil"):
        with pytest.raises(ToolRefused):
            check_host(host, 443, ("*.example",))


def test_the_tuple_names_them_all() -> None:
    from tools.builtin import TOOLS

    assert [function.__name__ for function in TOOLS] == [
        "search_knowledge", "check_facts", "calculator", "run_python", "http_get", "query_sql", "chart_sql",
        "list_tables", "describe_table", "summarise_column", "read_image", "scan_code",
        "check_constraints", "compile_code", "run_tests", "measure_growth",
    ]  # fmt: skip
