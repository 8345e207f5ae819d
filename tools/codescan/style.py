"""A small check of style, without a linter: names, unused imports, white space."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tools.codescan.finding import Language
from tools.codescan.node import Kind, Node, last

Problem = tuple[int, str]
"""Line and reason."""
_SNAKE = re.compile(r"_{0,2}[a-z0-9][a-z0-9_]*|_+|lambda")
_CAMEL = re.compile(r"[a-z][A-Za-z0-9]*")
_CAPITALISED = re.compile(r"_?[A-Z][A-Za-z0-9]*")
_VISITOR = re.compile(r"(visit|do|handle|test|setUp|tearDown|maybe)_?[A-Z]\w*")
"""Names that a library prescribes, such as ``visit_Name`` and ``do_GET``."""


def style_problems(text: str, tree: Node, language: Language) -> Iterator[Problem]:
    """Places that are not in the language's usual style, with the reason."""
    yield from _white_space(text, language)
    yield from _names(tree, language)
    yield from _unused_imports(text, tree, language)
    for node in tree.walk():
        if language is Language.PYTHON and node.kind is Kind.HANDLER and not node.name:
            yield node.line, "except without a type catches everything."


def _white_space(text: str, language: Language) -> Iterator[Problem]:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "The line ends with blanks."
        if language is Language.PYTHON and line.startswith("\t"):
            yield number, "The line is indented by a tab; use four blanks."
    if lines[-1]:
        yield len(lines), "The last line has no line break."


def _names(tree: Node, language: Language) -> Iterator[Problem]:
    wanted, example = (_SNAKE, "snake_case") if language is Language.PYTHON else (_CAMEL, "lowerCamelCase")
    for node in tree.walk():
        if node.kind is Kind.CLASS and node.name and not _CAPITALISED.fullmatch(node.name):
            yield node.line, f"The class {node.name} should be named in UpperCamelCase."
        constructor = language is Language.JAVA and not node.type
        usual = wanted.fullmatch(node.name) or _VISITOR.fullmatch(node.name)
        if node.kind is Kind.FUNCTION and not constructor and not usual:
            yield node.line, f"The function {node.name} should be named in {example}."


def _unused_imports(text: str, tree: Node, language: Language) -> Iterator[Problem]:
    word = r"\w+" if language is Language.PYTHON else r"[\w$]+"
    lines, words = text.split("\n"), Counter(re.findall(word, text))
    for node in tree.walk():
        if node.kind is not Kind.IMPORT or node.name.startswith("__future__") or node.name.endswith("*"):
            continue
        line = lines[node.line - 1] if language is Language.PYTHON else ""
        renamed = re.search(rf"\b{re.escape(last(node.name))} as (\w+)", line)
        name = renamed[1] if renamed else _bound(node.name, line)
        if words[name] < 2:
            yield node.line, f"{name} is imported and not used."


def _bound(name: str, line: str) -> str:
    """The name that an import binds: the first part for ``import a.b``, the last for ``from a import b``."""
    return name.partition(".")[0] if line.lstrip().startswith("import ") else last(name)
