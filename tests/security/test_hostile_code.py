"""Code that was written to break the scanner gives findings or errors: never a crash, a hang, or an effect."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.codescan import Language, Report, ScanLimits, scan

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("language", Language)
DEEP = {
    "brackets": "x = " + "(" * 5000 + "1" + ")" * 5000,
    "lists": "x = " + "[" * 3000 + "]" * 3000,
    "blocks": "\n".join(" " * level + "if x:" for level in range(300)) + "\n" + " " * 300 + "pass",
    "minus": "x = " + "-" * 20000 + "1",
    "not": "x = " + "not " * 20000 + "1",
    "attributes": "x = a" + ".b" * 20000,
    "calls": "x = a" + ".b()" * 5000,
    "sum": "x = " + "1 + " * 20000 + "1",
    "powers": "x = " + "2 ** " * 5000 + "1",
    "lambdas": "x = " + "lambda: " * 5000 + "1",
    "else": "if a: b\n" + "elif a: b\n" * 5000,
    "braces": "class A { void f() " + "{" * 5000 + "}" * 5000 + "}",
    "ternary": "x = " + "1 if a else " * 5000 + "1",
    "f-strings": "x = " + "f'{" * 20 + "}'" * 20,
    "chain": 'class A { String s = "a"' + ' + "a"' * 20000 + "; }",
    "generics": "class A { " + "List<" * 5000 + "A" + ">" * 5000 + " x; }",
    "else if": "class A { void f() { if (a) b();" + " else if (a) b();" * 5000 + "}}",
}


def told(report: Report) -> None:
    """What was not examined is said, and nothing else came out."""
    assert isinstance(report, Report)
    assert all(finding.line >= 1 for finding in report.findings)


@BOTH
@pytest.mark.parametrize("name", DEEP)
@pytest.mark.any_user
def test_deep_nesting_ends(name: str, language: Language) -> None:
    told(scan(DEEP[name], language))


@pytest.mark.parametrize("name", ["brackets", "blocks", "minus", "attributes", "calls", "powers", "lambdas", "ternary"])
def test_nesting_beyond_the_limit_is_an_error_in_the_report(name: str) -> None:
    report = scan(DEEP[name], Language.PYTHON)
    assert not report.complete


def test_long_chains_are_examined() -> None:
    """Chains of one operator and of elif are nested in Python's tree, but not for a reader."""
    text = "x = " + "1 + " * 300 + "eval(a)\nif a:\n    b\n" + "elif a:\n    b\n" * 150
    report = scan(text, Language.PYTHON)
    assert report.complete, report.errors
    assert [finding.cwe for finding in report.findings] == [95]


@BOTH
def test_a_text_beyond_the_limit_is_not_read(language: Language) -> None:
    report = scan("x" * 1_000_000, language)
    assert report.errors == ("1000000 characters; the limit is 200000: split the file",)


@BOTH
def test_a_long_line_is_named(language: Language) -> None:
    report = scan("a = 1;\n" + "x" * 150_000, language)
    assert "line 2: more than 10000 characters" in report.errors


@pytest.mark.parametrize(
    "text", ["a = 1\0", "\ufeffx = 1", "\ud800", "def f(:\n", "\t\tx\n y", "print 'x'", "'" * 7, "\\"]
)
def test_broken_python_is_an_error_with_a_place(text: str) -> None:
    report = scan(text, Language.PYTHON)
    told(report)
    assert report.complete == (text == "\ufeffx = 1")


@pytest.mark.parametrize(
    "text", ["class A {", "class { }", "\0", "class A { void f() { x = ; } }", '"""', "/*", "\ud800"]
)
def test_broken_java_is_an_error_with_a_place(text: str) -> None:
    report = scan(text, Language.JAVA)
    told(report)
    assert any("not valid Java" in error for error in report.errors)


def test_secrets_are_found_in_broken_code_too() -> None:
    report = scan("def f(:\n  key = 'AKIAIOSFODNN7REALKEY'\n", Language.PYTHON)
    assert [finding.cwe for finding in report.findings] == [798]
    assert not report.complete


def test_findings_are_bounded() -> None:
    text = "import os\ndef f(x):\n" + "    os.system(x)\n" * 3000
    report = scan(text, Language.PYTHON, limits=ScanLimits(findings=10))
    assert len(report.findings) == 10


def test_time_is_bounded() -> None:
    text = "import os\ndef f(x):\n" + "    os.system(x)\n" * 3000
    report = scan(text, Language.PYTHON, limits=ScanLimits(seconds=0))
    assert any("not finished within 0 s" in error for error in report.errors)


def test_many_functions_many_resources_and_many_random_values_end() -> None:
    body = "    a = open(x)\n    token = random.random()\n"
    many = "".join(f"def f{number}(x):\n{body}" for number in range(600))
    told(scan("import random\n" + many, Language.PYTHON))
    told(scan("import random\ndef f(x):\n" + body * 800, Language.PYTHON))


def test_regular_expressions_in_the_text_take_no_exponential_time() -> None:
    expression = "(" * 200 + "a" + "+)" * 200
    told(scan(f"import re\nre.compile({expression!r})\n", Language.PYTHON))
    told(scan("import re\nre.compile('" + "(a|" * 400 + ")*'" + ")\n", Language.PYTHON))
    told(scan("password = '" + "-" * 9000 + "'\n", Language.PYTHON))


def test_nothing_is_run_or_imported(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "victim.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    text = (
        f"import victim\nfrom victim import *\nopen({str(mark)!r}, 'w').close()\neval(\"open({str(mark)!r}, 'w')\")\n"
    )
    code = (
        "import sys; from tools.codescan import scan, Language;"
        " report = scan(sys.stdin.read(), Language.PYTHON); print(len(report.findings), 'victim' in sys.modules)"
    )
    path = f"{ROOT}:{ROOT / 'sdk'}:{tmp_path}"
    out = subprocess.run(
        [sys.executable, "-c", code], input=text, env={"PYTHONPATH": path}, cwd=ROOT, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.split()[1] == "False"
    assert not mark.exists()


@pytest.mark.parametrize("comment", ["# nosec", "# nosec B612", "# noqa", "# type: ignore"])
def test_comments_of_a_program_switch_nothing_off(comment: str) -> None:
    text = f"import logging.config\nserver = logging.config.listen(9999)  {comment}\neval(server)  {comment}\n"
    assert {finding.cwe for finding in scan(text, Language.PYTHON).findings} == {94, 95}


FRAGMENTS = st.sampled_from(
    ["def f(x):\n", "    ", "\n", "eval(", ")", "x", " = ", "'a'", "import os\n", "os.system(", "if ", ":\n",
     "class A {", "}", ";", "String s = ", '"', "{", "request.args[", "]", "+", "%", ".format(", "for x in y:\n",
     "try {", "catch (E e)", "lambda x: ", "@a\n", "return ", "#", "/*", "\\", "async ", "with open(x) as f:\n",
     "0o777", "*", "match x:\n", "(a+)+"]
)  # fmt: skip


@BOTH
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(FRAGMENTS, max_size=60))
def test_any_text_gives_a_report(language: Language, pieces: list[str]) -> None:
    told(scan("".join(pieces), language))


@BOTH
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300))
def test_any_characters_give_a_report(language: Language, text: str) -> None:
    told(scan(text, language))


MANY = "class A { void f() { " + "".join(f"int a{number}=b;" for number in range(1500))
LARGE = {
    "variables and functions": "".join(f"a{number}=b\ndef f{number}(x):\n x()\n" for number in range(3000)),
    "variables and branches": MANY + "if (a) b();" + " else if (a) b();" * 2500 + "}}",
    "variables and cases": MANY + "switch (x) {" + "case 1: b(); break;" * 3000 + "}}}",
    "variables and handlers": "".join(f"a{number}=b\n" for number in range(2500))
    + "try:\n f()\n"
    + "except E:\n g()\n" * 3000,
    "names": "f(" + ",".join(f"a.b{number}.c()" for number in range(8000)) + ")",
    "one chain": "x = " + "+".join(["x"] * 30000),
}


MEASURED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1024**3, 1024**3))
from tools.codescan import Language, scan
text = sys.stdin.read()
scan(text, Language.JAVA if text.startswith("class") else Language.PYTHON)
print("ended")
"""


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.any_user
def test_memory_is_bounded(name: str) -> None:
    path = f"{ROOT}:{ROOT / 'sdk'}"
    out = subprocess.run(
        [sys.executable, "-c", MEASURED], input=LARGE[name], env={"PYTHONPATH": path}, cwd=ROOT, capture_output=True,
        text=True,
    )  # fmt: skip
    assert out.stdout.startswith("ended"), out.stderr[-2000:]
