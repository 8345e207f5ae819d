from __future__ import annotations

import pytest

from agent.procedures.java_code import JavaCode
from agent.procedures.procedure import Unusable

JAVA = JavaCode()
STUB = """import java.util.*;
import java.lang.*;

class Solution {
    /**
    Look.
    >>> close(Arrays.asList(1.0, 2.0), 0.5)
    false
    >>> close(Arrays.asList(1.0, 2.8), 3)
    true
     */
    public boolean close(List<Double> numbers, double threshold) {
"""


def test_a_stub_names_method_and_examples() -> None:
    assert JAVA.is_stub(STUB)
    assert JAVA.entry(STUB, None) == "close"
    assert JAVA.examples(STUB, "close") == [
        ("close(Arrays.asList(1.0, 2.0), 0.5)", "false"),
        ("close(Arrays.asList(1.0, 2.8), 3)", "true"),
    ]


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ('f("a") == "b"', ('f("a")', '"b"')),
        ("assert f(1, -2) == 3;", ("f(1, -2)", "3")),
        ("f(1) == [1, 2]", ("f(1)", "Arrays.asList(1, 2)")),
        ("f(1) == List.of(1, 2)", ("f(1)", "List.of(1, 2)")),
        ("f(new int[]{1, 2}) == new int[]{2}", ("f(new int[]{1, 2})", "new int[]{2}")),
        ("f(1) == null", ("f(1)", "null")),
        ("f(x) == 1", None),
        ("g(1) == 1", None),
        ("f(1)", None),
    ],
)
def test_tests_of_models_are_read(line: str, test: tuple[str, str] | None) -> None:
    assert JAVA.parsed_test(line, "f") == test


def test_a_lone_method_becomes_a_class_with_imports() -> None:
    program = JAVA.program("```java\npublic static List<Integer> f(int x) {\n    return Arrays.asList(x);\n}\n```", "")
    assert program.startswith("import java.util.*;\n")
    assert "class Solution {" in program
    assert program.count("{") == program.count("}")


def test_main_is_dropped_and_imports_of_the_stub_are_kept() -> None:
    main = "    public static void main(String[] a) {\n    }\n"
    body = f"class Solution {{\n    int f(int x) {{\n        return x;\n    }}\n{main}}}"
    program = JAVA.program(f"```java\n{body}\n```", STUB)
    assert "main" not in program
    assert program.startswith("import java.util.*;\n")


def test_words_are_no_program() -> None:
    with pytest.raises(Unusable):
        JAVA.program("I can't do that.", "")
