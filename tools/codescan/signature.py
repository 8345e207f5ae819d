"""Compares a function that a program defines with the one that was asked for."""

from __future__ import annotations

from tools.codescan.finding import Language
from tools.codescan.java_source import java_tree
from tools.codescan.limits import Budget, NotExamined, ScanLimits
from tools.codescan.node import Kind, Node
from tools.codescan.python_source import parse_python, python_tree

Problem = tuple[int, str]
"""Line and reason."""


def signature_problem(tree: Node, language: Language, wanted: str) -> Problem | None:
    """Differences between the program's function of that name and the wanted one; None if there are none.

    Python: names and order of the parameters, and annotations where the wanted signature has some. Java: the types of
    the parameters and of the result, without type arguments.

    Raises:
        NotExamined: the wanted signature can't be read.
    """
    asked = _wanted(language, wanted)
    found = [node for node in tree.walk() if node.kind is Kind.FUNCTION and node.name == asked.name]
    if not found:
        return 1, f"{asked.name} is not defined."
    problems = [_difference(node, asked, language) for node in found]
    return None if None in problems else (found[0].line, next(one for one in problems if one))


def _wanted(language: Language, text: str) -> Node:
    text = text.strip().rstrip("{:; ")
    budget = Budget(ScanLimits())
    if language is Language.PYTHON:
        prefix = "" if text.startswith(("def ", "async def ")) else "def "
        tree = python_tree(parse_python(f"{prefix}{text}:\n    ..."), budget)
    else:
        tree, errors = java_tree(f"class Wanted {{ {text} {{ }} }}", budget)
        if errors:
            raise NotExamined(f"the signature {text!r} is not a method of Java")
    functions = [node for node in tree.walk() if node.kind is Kind.FUNCTION]
    if not functions:
        raise NotExamined(f"the signature {text!r} is not a function")
    return functions[0]


def _difference(found: Node, asked: Node, language: Language) -> str | None:
    given = [part for part in found.parts if part.name not in ("self", "cls")]
    wanted = [part for part in asked.parts if part.name not in ("self", "cls")]
    if len(given) != len(wanted):
        return f"{asked.name} takes {len(given)} parameters; asked for were {len(wanted)}."
    for have, want in zip(given, wanted, strict=True):
        if language is Language.PYTHON and have.name != want.name:
            return f"{asked.name}: the parameter {have.name} should be named {want.name}."
        if want.type and have.type != want.type:
            return f"{asked.name}: the parameter {have.name} should have the type {want.type}."
    if asked.type and found.type != asked.type:
        return f"{asked.name} should return {asked.type}."
    return None
