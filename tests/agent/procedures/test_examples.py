from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.procedures.examples import examples
from agent.procedures.procedure import Unusable
from agent.procedures.python_code import PythonCode

PYTHON = PythonCode()


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        (">>> f([1.0, 2.0], 0.5)\n    False", ("f([1.0, 2.0], 0.5)", "False")),
        ("f(1) == 2", ("f(1)", "2")),
        ("`f(1)` returns `[1, 2]`.", ("f(1)", "[1, 2]")),
        ("f('a)b') ➞ (1, 2)", ("f('a)b')", "(1, 2)")),
        ("f(3) should return 12.", ("f(3)", "12")),
        ("f(3) => 'x, y' # why", ("f(3)", "'x, y'")),
        ("f(-5) = -5", ("f(-5)", "-5")),
        ("f([1]) # => [\n 1]", ("f([1])", "[1]")),
        ("f(0)\nOutput: None", ("f(0)", "None")),
    ],
)
def test_examples_are_found(prompt: str, found: tuple[str, str]) -> None:
    assert examples(f"Look: {prompt}", "f") == [found]


@pytest.mark.parametrize(
    "prompt", ["f(x) returns 2", "def f(a: int) -> int:", "g.f(1) == 2", "f(1) is fun", "f(1", "f(1)"]
)
def test_what_is_no_example_is_not_found(prompt: str) -> None:
    assert examples(prompt, "f") == []


@given(st.text(alphabet="f()[]{}'\"\\=>\n ,.1a-", max_size=80) | st.text(max_size=80))
def test_any_prompt_can_be_read(prompt: str) -> None:
    for call, expected in examples(prompt, "f"):
        assert call.startswith("f(")
        assert expected
    PYTHON.entry(prompt, None)


def test_a_stub_lends_its_head() -> None:
    helper = "from typing import List\n\ndef half(x):\n    return x / 2\n\n"
    stub = f"{helper}def halves(x: List[int]) -> List[float]:\n    '''Halves.'''\n"
    program = PYTHON.program(
        "```python\ndef halves(x: List[int]) -> List[float]:\n    return [half(v) for v in x]\n```", stub
    )
    scope: dict[str, object] = {}
    exec(program, scope)
    assert scope["halves"]([2]) == [1.0]  # type: ignore[operator]
    assert PYTHON.entry(stub, None) == "halves"


def test_uses_at_the_end_are_dropped_and_imports_added() -> None:
    program = PYTHON.program("```python\ndef f(x):\n    return math.sqrt(x)\n\n# Test it\nprint(f(4))\n```", "")
    assert program == "import math\n\ndef f(x):\n    return math.sqrt(x)\n"


@pytest.mark.parametrize("answer", ["", "Sorry, I can't.", "```python\n```"])
def test_no_program(answer: str) -> None:
    with pytest.raises(Unusable):
        PYTHON.program(answer, "")


def test_code_may_begin_on_the_line_of_the_fence() -> None:
    assert PYTHON.program("```python def f(x):\n    return x\n```", "") == "def f(x):\n    return x\n"
    assert PYTHON.program("Here:\n```python def f(x): return x```", "") == "def f(x): return x\n"


def test_a_header_with_annotations_in_a_sentence_is_kept() -> None:
    prompt = "Write a Python function `pay(due: dict[str, int]) -> list[str]` that pays. `pay({})` returns []."
    assert PYTHON.header(prompt) == "def pay(due: dict[str, int]) -> list[str]:"
    assert PYTHON.entry("Write code for `pay(due: int)`.", None) == "pay"
    assert PYTHON.header("Write a function `pay(due)`.") is None
    assert PYTHON.header("Convert `a(x: int)` to `b(x: int)`.") is None


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Write a Python program that reads two files and prints them.", "program"),
        ("Write a script for the command line.", "program"),
        ("Write a function that reads the command line.", "function"),
        ("Write a program with a function `run(text)`.", "function"),
        ("Write a class `Stack` for a program.", "class"),
        ("Sum a list.", "function"),
    ],
)
def test_what_a_prompt_asks_for(prompt: str, kind: str) -> None:
    assert PYTHON.wanted(prompt, None).kind == kind
