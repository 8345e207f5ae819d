"""Examples in a prompt, and what prompts and answers have in common in all languages.

Examples are ``>>> f(1)`` with its value, ``f(1) == 2``, ``f(1) should return 2`` and the like.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

Test = tuple[str, str]
"""Call and expected literal."""
FENCED = re.compile(r"```[ \t]*([\w+-]*)[ \t]*\n?(.*?)(?:```|\Z)", re.S)
"""A fenced block: its language and its code. Small models also write the first line of code on the fence's line."""
NAMED = re.compile(r"\b(?:function|method)\s+(?:called|named)?\s*[`'\"]?(\w+)[`'\"]?\s*(?:\(|`|'|\"|that|which)")
"""A function that a sentence names."""
MOST = 16
LONGEST = 600
_SEPARATOR = re.compile(
    r"[`'\"]?\s*,?\s*(?:#\s*)?(?:==>|==|=>|-+>|➞|→|➡|⟹|=|:|should (?:return|be|give|equal)|must return|will return|"
    r"would return|returns?|returned|gives|evaluates to|is(?: equal to)?|outputs?|yields)\s*:?\s*[`]?"
)
_NEXT_LINE = re.compile(r"[ \t]*\n[ \t]*(?:(?:output|returns?|result|expected|=+>|->|➞|→)\s*:?\s*)?[`]?", re.I)


def examples(prompt: str, entry: str) -> list[Test]:
    """Calls of a function with literal arguments, and the literals that they should return."""
    found: dict[str, str] = {}
    for call, after in _calls(prompt, entry):
        expected = _expected(after)
        if expected is not None:
            found.setdefault(call, expected)
    return list(found.items())[:MOST]


def _calls(prompt: str, entry: str) -> Iterator[tuple[str, str]]:
    """Calls in the text, each with the text after it."""
    for match in re.finditer(rf"(?<![\w.]){re.escape(entry)}\(", prompt):
        end = closing(prompt, match.end())
        if end is None:
            continue
        text = prompt[match.start() : end]
        try:
            node = ast.parse(" ".join(text.split()), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if is_example_call(node, entry):
            yield ast.unparse(node), prompt[end : end + LONGEST]


def is_example_call(node: ast.expr, entry: str) -> bool:
    """Whether an expression calls the function with literals only."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != entry:
        return False
    return all(map(is_literal, [*node.args, *(keyword.value for keyword in node.keywords)]))


def is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def closing(text: str, at: int) -> int | None:
    """The position after the parenthesis that closes one opened before ``at``."""
    depth, quote = 1, ""
    while at < len(text):
        sign = text[at]
        if quote:
            if sign == "\\":
                at += 1
            elif sign == quote:
                quote = ""
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None


def _expected(after: str) -> str | None:
    text = after_separator(after)
    return None if text is None else first_literal(text)


def after_separator(after: str) -> str | None:
    """What follows ``==``, "should return", a line break and the like; None: the text begins with nothing like that."""
    match = _SEPARATOR.match(after) or _NEXT_LINE.match(after)
    return None if match is None else after[match.end() :]


def first_literal(text: str) -> str | None:
    """The longest literal that a text begins with. A tuple needs parentheses."""
    line = text if text[:1] in "([{" else text.split("\n")[0]
    for end in range(min(len(line), LONGEST), 0, -1):
        part = line[:end]
        if part[-1] in " .,\n\t" or (end < len(line) and part[-1].isalnum() and line[end].isalnum()):
            continue
        try:
            value = ast.literal_eval(part.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        if isinstance(value, tuple) and not part.startswith("("):
            continue
        return repr(value)
    return None
