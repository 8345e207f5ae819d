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


def test_the_comment_of_a_stub_names_no_method() -> None:
    stub = STUB.replace("Look.", "Write a function that tells whether numbers are close. Knowing that (a) is large.")
    assert JAVA.entry(stub, None) == "close"
    assert JAVA.wanted(stub, None).names == ("close",)


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


def test_several_files_become_one() -> None:
    answer = (
        "```java\npackage a.b;\n\npublic interface Shape {\n    double area();\n}\n```\nand\n"
        "```java\npackage a.b;\n\nimport java.util.Map;\n\npublic record Square(double side) implements Shape {\n"
        "    public double area() { return side * side; }\n}\n```\nUse:\n"
        "```java\nclass Main { public static void main(String[] a) { } }\n```"
    )
    program = JAVA.program(answer, "")
    assert program.startswith("package a.b;\n\nimport java.util.Map;\npublic interface Shape {")
    assert "\nrecord Square(" in program
    assert "Main" not in program
    assert JAVA.file(program) == "Shape.java"
    assert JAVA.defined(program) == "area"


def test_imports_stand_before_types_and_after_the_package() -> None:
    first = "public class First {\n    List<Integer> f() { return null; }\n}\n"
    code = f"package a;\n\n{first}\nimport java.math.BigInteger;\n"
    program = JAVA.program(f"```java\n{code}\npublic class Second {{\n}}\n```", "")
    assert program.startswith("package a;\n\nimport java.util.*;\nimport java.math.BigInteger;\npublic class First {")
    assert "\nclass Second {" in program


def test_tests_name_the_programs_own_type_and_package() -> None:
    code = "package a;\n\npublic class Größe {\n    static int twice(int x) {\n        return 2 * x;\n    }\n}\n"
    tests = [("twice(1)", "2"), ("Größe.twice(2)", "4"), ("twice(3)", "{a=1}")]
    text = JAVA.test_file(tests, [], "twice", code)
    assert text.startswith("package a;\n")
    assert "class GrößeTest {" in text
    assert [line.strip() for line in text.splitlines() if "check(Größe" in line] == [
        "check(Größe.twice(1), 2);",
        "check(Größe.twice(2), 4);",
    ]
    assert JAVA.tests_file(code) == "GrößeTest.java"
    assert JAVA.test_file(tests[2:], [], "twice", code) == ""


def test_prompts_name_methods_by_their_headers_and_call_them_on_types() -> None:
    prompt = (
        "Write a class Calculator with a method `static List<Integer> added(int a, int b)`."
        " Calculator.added(1, 2) == [3] and new Calculator(7).added(0, 0) == [0], but x.added(1, 1) == [2]."
    )
    assert JAVA.entry(prompt, None) == "added"
    assert JAVA.examples(prompt, "added") == [
        ("Calculator.added(1, 2)", "Arrays.asList(3)"),
        ("new Calculator(7).added(0, 0)", "Arrays.asList(0)"),
    ]


def test_the_header_is_the_class_as_far_as_the_method() -> None:
    head = "class Solution {\n    public boolean close(List<Double> numbers, double threshold) {"
    assert JAVA.header(STUB) == head
    assert JAVA.header("Write a Java method `static int f(int x) throws Exception` that doubles.") == (
        "class Solution {\n    static int f(int x) throws Exception {"
    )
    assert JAVA.header("Write a class Box with a method `int volume();` that multiplies.") == (
        "class Box {\n    int volume() {"
    )
    assert JAVA.header("Write a class Lift with `void call(int floor)` and `int floor()`.") is None
    assert JAVA.header("Write a method that adds.") is None


def test_imports_are_added_by_what_is_used() -> None:
    code = "class Solution {\n    static String f() throws IOException {\n        // a Pattern\n"
    program = JAVA.program(f'```java\n{code}        return Files.readString(Path.of("a"));\n    }}\n}}\n```', "")
    assert program.startswith("import java.io.*;\nimport java.nio.file.*;\nclass Solution {")


def test_a_test_of_a_class_is_the_whole_statements_that_use_it_and_can_fail() -> None:
    lines = "Box one = new Box(1);\ncheck(one.size(), 1);\nfor (int i = 0; i < 2; i++) { one.grow(); }\ncheck(one.si"
    made = JAVA.scenario(f"```java\n{lines}", "Box")
    assert made.startswith(
        "class Main {\n    public static void main(String[] args) throws Exception {\n        Box one"
    )
    assert "one.grow(); }\n    }\n" in made
    main = "```java\nclass T {{\n    public static void main(String[] a) {{\n        {}\n    }}\n}}\n```"
    assert "check(new Box(1).size() == 1, true);" in JAVA.scenario(main.format("assert new Box(1).size() == 1;"), "Box")
    for body in ("System.out.println(new Box(1));", "check(1, 1);"):
        with pytest.raises(Unusable):
            JAVA.scenario(main.format(body), "Box")
    with pytest.raises(Unusable):
        JAVA.scenario("I can't.", "Box")
