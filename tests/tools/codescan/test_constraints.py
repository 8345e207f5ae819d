from __future__ import annotations

import time

import pytest

from tools.codescan import Language
from tools.codescan.constraints import Constraints, check_constraints, complexity
from tools.codescan.limits import Budget, ScanLimits
from tools.codescan.node import Kind
from tools.codescan.python_source import parse_python, python_tree


def broken(text: str, constraints: Constraints, language: Language = Language.PYTHON) -> list[tuple[int, str]]:
    report = check_constraints(text, language, constraints)
    assert report.complete, report.errors
    return [(finding.line, finding.rule.removeprefix("constraint.")) for finding in report.findings]


def test_imports_outside_the_list_are_found() -> None:
    allowed = Constraints(imports=frozenset({"math", "collections"}))
    text = (
        "from __future__ import annotations\nimport math\nfrom collections.abc import Sequence\nimport mathutils, os\n"
    )
    assert broken(text, allowed) == [(4, "import"), (4, "import")]
    assert broken("__import__('o' + 's')\n", allowed) == [(1, "import")]


def test_packages_of_java_are_compared_by_their_parts() -> None:
    allowed = Constraints(imports=frozenset({"java.util"}))
    text = "import java.util.List;\nimport java.util.function.*;\nimport java.utility.X;\nclass A {}\n"
    assert broken(text, allowed, Language.JAVA) == [(3, "import")]


@pytest.mark.parametrize(
    "line",
    ["import socket", "from urllib.request import urlopen", "import requests", "eval(x)", "import ctypes",
     "import subprocess", "().__class__.__base__.__subclasses__()", "__builtins__['open']", "import importlib"],
)  # fmt: skip
def test_what_may_reach_the_network_is_found(line: str) -> None:
    assert (1, "network") in broken(line + "\n", Constraints(network=False))


@pytest.mark.parametrize(
    "line",
    ["open(x)", "o = open", "import pathlib", "import os\nos.remove(x)", "from os import remove\nremove(x)", "exec(x)",
     "p.read_text()", "import sqlite3"],
)  # fmt: skip
def test_what_may_reach_files_is_found(line: str) -> None:
    assert "files" in {kind for _, kind in broken(line + "\n", Constraints(files=False))}


def test_harmless_programs_keep_to_all_constraints() -> None:
    strict = Constraints(frozenset({"math"}), False, False, "def area(radius: float) -> float", 3, 100, True)
    body = "    socket_count = radius\n    return math.pi * socket_count**2\n"
    text = f"import math\n\n\ndef area(radius: float) -> float:\n{body}"
    assert broken(text, strict) == []


def test_java_is_held_to_network_and_files_too() -> None:
    text = "import java.net.Socket;\nclass A {\n  void f() throws Exception { Files.readString(Path.of(x)); }\n}\n"
    assert broken(text, Constraints(network=False), Language.JAVA) == [(1, "network")]
    assert {line for line, _ in broken(text, Constraints(files=False), Language.JAVA)} == {3}
    text = "class A {\n  void f() throws Exception { Class.forName(x); }\n}\n"
    assert broken(text, Constraints(network=False), Language.JAVA) == [(2, "network")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def solve(items: list[int]) -> int:\n    return 0\n", None),
        ("class A:\n    def solve(self, items: list[int]) -> int:\n        return 0\n", None),
        ("def other():\n    return 0\n", "solve is not defined."),
        ("def solve(items: list[int], n) -> int:\n    return 0\n", "solve takes 2 parameters; asked for were 1."),
        ("def solve(values: list[int]) -> int:\n    return 0\n", "solve: the parameter values should be named items."),
        ("def solve(items: str) -> int:\n    return 0\n", "solve: the parameter items should have the type list[]."),
        ("def solve(items: list[int]) -> str:\n    return 0\n", "solve should return int."),
    ],
)
def test_signatures_of_python_are_compared(text: str, reason: str | None) -> None:
    report = check_constraints(text, Language.PYTHON, Constraints(signature="def solve(items: list[int]) -> int"))
    assert [finding.reason for finding in report.findings] == ([reason] if reason else [])


def test_signatures_of_java_are_compared_by_types() -> None:
    asked = Constraints(signature="static int solve(List<Integer> items, int n)")
    good = "class A { static int solve(List<Integer> values, int k) { return 0; } }"
    assert broken(good, asked, Language.JAVA) == []
    assert broken(good.replace("int k", "long k"), asked, Language.JAVA) == [(1, "signature")]


def test_a_signature_that_is_none_is_an_error() -> None:
    for language in Language:
        report = check_constraints("x = 1\n", language, Constraints(signature="solve the problem"))
        assert report.errors


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("return 1", 1),
        ("if a: return 1", 2),
        ("if a and b or c: return 1", 4),
        ("for x in a:\n        while x: x()", 3),
        ("return [x for x in a if x]", 3),
        ("try: a()\n    except A: b()\n    except B: c()", 3),
        ("if a: b()\n    elif c: d()\n    else: e()", 3),
        ("return a if b else c", 2),
        ("def inner():\n        if a: b()\n    return inner", 1),
    ],
)
def test_complexity_counts_decisions(body: str, wanted: int) -> None:
    tree = python_tree(parse_python(f"def f():\n    {body}\n"), Budget(ScanLimits()))
    function = next(node for node in tree.walk() if node.kind is Kind.FUNCTION)
    assert complexity(function) == wanted


def test_complexity_and_line_length_have_limits() -> None:
    text = "def f(a, b):\n    if a and b:\n        return 1\n    return 2  # " + "x" * 90 + "\n"
    assert broken(text, Constraints(max_complexity=2, max_line=80)) == [(1, "complexity"), (4, "style")]


def test_style_of_python() -> None:
    text = "import os\nimport json as j\n\n\nclass thing:\n    def DoIt(self):  \n\treturn j\n"
    text = text.replace("\treturn", "        return") + "\n\ndef visit_Name(node):\n    pass"
    assert broken(text, Constraints(style=True)) == [
        (1, "style"),
        (5, "style"),
        (6, "style"),
        (6, "style"),
        (11, "style"),
    ]


def test_unused_imports_are_found_in_time_that_grows_with_the_text() -> None:
    text = "".join(f"import m{number}\n" for number in range(10_000)) + "m7()\n"
    started = time.process_time()
    assert len(broken(text, Constraints(style=True))) == 9_999
    assert time.process_time() - started < 20


def test_style_of_java() -> None:
    text = "import java.util.List;\nclass thing {\n  thing() {}\n  void DoIt() {}\n}\n"
    assert broken(text, Constraints(style=True), Language.JAVA) == [(1, "style"), (2, "style"), (4, "style")]
