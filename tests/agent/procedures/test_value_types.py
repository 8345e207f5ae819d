from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.procedures.value_types import mistyped


def annotation(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        ("(0, 8)", "tuple[str, str]", False),
        ("('08:00', '09:00')", "Tuple[str, str]", True),
        ("('a', 'b', 'c')", "tuple[str, str]", False),
        ("('a', 'b', 'c')", "tuple[str, ...]", True),
        ("[('a', 1)]", "list[tuple[str, str, int]]", False),
        ("[]", "List[tuple[str, str, int]]", True),
        ("{'a': [1]}", "dict[str, list[int]]", True),
        ("{'a': ['1']}", "Dict[str, List[int]]", False),
        ("3", "float", True),
        ("3.5", "int", False),
        ("'x'", "Optional[int]", False),
        ("None", "Optional[int]", True),
        ("None", "int", False),
        ("None", "int | None", True),
        ("'x'", "Union[int, str]", True),
        ("'x'", "Iterable[int]", True),
        ("<object at 0x7f>", "int", True),
    ],
)
def test_values_are_compared_with_annotations(value: str, kind: str, fits: bool) -> None:
    assert (mistyped([("f()", value)], annotation(kind)) is None) == fits


def test_one_result_may_be_none() -> None:
    assert mistyped([("f(1)", "None"), ("f(2)", "2")], annotation("int")) is None
    assert mistyped([("f(1)", "None"), ("f(2)", "'2'")], annotation("int")) == ("f(2)", "'2'")


@given(st.lists(st.tuples(st.text(max_size=5), st.integers())))
def test_any_list_of_pairs_fits(value: list[tuple[str, int]]) -> None:
    assert mistyped([("f()", repr(value))], annotation("list[tuple[str, int]]")) is None
