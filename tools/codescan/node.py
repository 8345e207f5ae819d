"""A small syntax tree for both languages, so that data flow and rules are written once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Kinds of nodes, and what their fields hold where that is not obvious."""

    LITERAL = "literal"  # value
    NAME = "name"
    ATTRIBUTE = "attribute"  # receiver.name
    CALL = "call"  # receiver, name (dotted callee), parts (arguments), keywords
    FORMAT = "format"  # text put together of parts; name: operator
    SUBSCRIPT = "subscript"  # receiver[parts]
    COLLECTION = "collection"  # parts; keywords: entries of a dict with constant keys
    COMPREHENSION = "comprehension"  # parts: element; body: ASSIGN for each target, then conditions
    COMPARE = "compare"  # name: operator; parts
    NOT = "not"
    OTHER = "other"  # name: operator or Python's name of the node; parts
    ASSIGN = "assign"  # name (dotted target), receiver (target), parts (value), type
    FUNCTION = "function"  # name, parts (parameters as NAME), marks, body, type (return type)
    CLASS = "class"
    IF = "if"  # parts: tests; body: a BLOCK for each test, and one more for else
    LOOP = "loop"  # parts: test of while; name: "for" or "while"
    WITH = "with"  # parts: resources, as ASSIGN or expressions
    TRY = "try"  # body, handlers in parts, orelse: finally
    HANDLER = "handler"  # name: exception types, separated by |
    RETURN = "return"
    RAISE = "raise"
    ASSERT = "assert"
    JUMP = "jump"  # break, continue
    IMPORT = "import"  # name: dotted module or class
    BLOCK = "block"


@dataclass(slots=True)
class Node:
    """One syntax node. ``line`` counts from 1."""

    kind: Kind
    line: int
    name: str = ""
    value: Any = None
    type: str = ""
    """Declared type, without its type arguments."""
    receiver: Node | None = None
    parts: list[Node] = field(default_factory=list)
    keywords: dict[str, Node] = field(default_factory=dict)
    marks: list[Node] = field(default_factory=list)
    """Decorators, or annotations and modifiers."""
    body: list[Node] = field(default_factory=list)
    orelse: list[Node] = field(default_factory=list)

    def children(self) -> Iterator[Node]:
        if self.receiver is not None:
            yield self.receiver
        yield from self.parts
        yield from self.keywords.values()
        yield from self.body
        yield from self.orelse

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the order of the text."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(list(node.children())))

    def calls(self) -> Iterator[Node]:
        return (node for node in self.walk() if node.kind is Kind.CALL)


def dotted(node: Node | None) -> str:
    """An expression as a dotted name: ``a.b``, ``a.b()`` for a call, ``a[]`` for an item, "" for what has no name."""
    pieces: list[str] = []
    while node is not None:
        match node.kind:
            case Kind.NAME:
                pieces.append(node.name)
                break
            case Kind.ATTRIBUTE:
                pieces.append(f".{node.name}")
                node = node.receiver
            case Kind.CALL:
                pieces.append(f"{node.name}()")
                break
            case Kind.SUBSCRIPT:
                pieces.append("[]")
                node = node.receiver
            case Kind.LITERAL | Kind.FORMAT:
                pieces.append("''")
                break
            case _:
                break
    return "".join(reversed(pieces))


def last(name: str) -> str:
    """The last part of a dotted name."""
    return name.rpartition(".")[2]


def ends(block: list[Node]) -> bool:
    """Whether a block never reaches its end: it returns, raises, jumps, or calls something that does not return."""
    if not block:
        return False
    node = block[-1]
    if node.kind in (Kind.RETURN, Kind.RAISE, Kind.JUMP):
        return True
    return node.kind is Kind.CALL and last(node.name) in {"abort", "exit", "_exit", "sendError", "fail", "error"}
