"""Data flow inside a function, from sources through variables to sinks."""

from __future__ import annotations

import textwrap

import pytest

from tools.codescan import Language, scan

SQL, PATH, COMMAND = "python.sql-injection", "python.path-traversal", "python.command-injection"


def found(body: str, language: Language = Language.PYTHON) -> dict[int, str]:
    report = scan(textwrap.dedent(body).lstrip("\n"), language)
    assert report.complete, report.errors
    return {finding.line: finding.rule for finding in report.findings}


def test_a_value_is_followed_through_variables() -> None:
    body = """
    def find(db, name):
        where = "name = '" + name + "'"
        sql = "SELECT * FROM t WHERE " + where
        again = sql
        db.execute(again)
    """
    assert found(body) == {5: SQL}


def test_constants_are_not_foreign() -> None:
    body = """
    PREFIX = "app_"
    def find(db):
        table = PREFIX + "users"
        db.execute("SELECT * FROM " + table)
    """
    assert found(body) == {}


def test_a_variable_that_gets_a_constant_is_constant() -> None:
    body = """
    def find(db, name):
        name = "fixed"
        db.execute("SELECT * FROM " + name)
    """
    assert found(body) == {}


def test_branches_are_joined() -> None:
    body = """
    def find(db, name):
        table = "users"
        if name:
            table = name
        db.execute("SELECT * FROM " + table)
    """
    assert found(body) == {5: SQL}


@pytest.mark.parametrize(
    "check",
    [
        "if name not in ALLOWED:\n        raise ValueError(name)",
        "if not name.isalnum():\n        return None",
        "if not re.fullmatch('[a-z]+', name):\n        return None",
        "validate_name(name)",
        "name = int(name)",
    ],
)
def test_a_checked_value_is_clean(check: str) -> None:
    sink = "db.execute('SELECT * FROM ' + str(name))"
    text = f"import re\nALLOWED = ('a', 'b')\ndef find(db, name):\n    {check}\n    {sink}\n"
    assert scan(text, Language.PYTHON).findings == ()


def test_a_check_of_what_was_taken_from_a_value_counts_for_the_value() -> None:
    body = """
    import requests
    from urllib.parse import urlparse
    from flask import request
    HOSTS = {"a.example.org"}
    def fetch():
        url = request.args["url"]
        parts = urlparse(url)
        if parts.hostname not in HOSTS:
            raise ValueError("host")
        return requests.get(url, timeout=5)
    """
    assert found(body) == {}


def test_a_check_for_one_purpose_is_none_for_another() -> None:
    body = """
    import shlex, os
    def show(db, name):
        name = shlex.quote(name)
        os.system("ls " + name)
        db.execute("SELECT * FROM t WHERE n = '" + name + "'")
    """
    assert found(body) == {5: SQL}


def test_imported_names_are_resolved() -> None:
    body = """
    from os import system as run
    import subprocess as sp
    def go(name):
        run("ls " + name)
        sp.run("ls " + name, shell=True)
    """
    assert found(body) == {4: COMMAND, 5: COMMAND}


def test_the_command_line_may_name_files() -> None:
    body = """
    import sys
    with open("data/" + sys.argv[1]) as file:
        print(file.read())
    """
    assert found(body) == {}


def test_builders_are_followed_in_java() -> None:
    body = """
    class Search {
      Object find(JdbcTemplate jdbc, String name) {
        StringBuilder sql = new StringBuilder("SELECT * FROM t WHERE name = '");
        sql.append(name).append("'");
        return jdbc.queryForList(sql.toString());
      }
    }
    """
    assert found(body, Language.JAVA) == {5: "java.sql-injection"}


def test_declared_types_name_calls_in_java() -> None:
    body = """
    class Unzip {
      void write(ZipEntry one, File folder) throws Exception {
        File target = new File(folder, one.getName());
        try (var out = new FileOutputStream(target)) { out.write(1); }
      }
    }
    """
    assert set(found(body, Language.JAVA).values()) == {"java.zip-slip"}


def test_numbers_are_no_text_in_java() -> None:
    body = """
    class Search {
      Object find(JdbcTemplate jdbc, int limit) {
        return jdbc.queryForList("SELECT * FROM t LIMIT " + limit);
      }
    }
    """
    assert found(body, Language.JAVA) == {}


def test_what_own_functions_return_is_known() -> None:
    body = """
    def where(name):
        return "name = '" + name + "'"

    def table():
        return "users"

    def find(db, name):
        db.execute(where(name))
        db.execute("SELECT * FROM " + table())
        db.execute(where("fixed"))
    """
    assert found(body) == {8: SQL}


def test_a_function_that_checks_what_it_returns_cleans_it() -> None:
    body = """
    from pathlib import Path
    ROOT = Path("/srv")

    def inside(name):
        path = (ROOT / name).resolve()
        if not path.is_relative_to(ROOT):
            raise ValueError(name)
        return path

    def read(name):
        return inside(name).read_text()
    """
    assert found(body) == {}


def test_formatted_texts_are_built() -> None:
    assert found("def find(db, name):\n    db.execute('SELECT {}'.format(name))\n") == {2: SQL}
