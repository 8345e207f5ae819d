"""Reads Java's expressions into the common syntax tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tools.codescan.limits import Budget
from tools.codescan.node import Kind, Node, dotted

if TYPE_CHECKING:
    from tree_sitter import Node as Syntax

_ESCAPE = re.compile(r"\\([btnfrs0\"'\\])")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "s": " ", "0": "\0"}
WRAPPERS = ("parenthesized_expression", "expression_statement", "annotation_argument_list", "labeled_statement")


def simple(kind: str) -> str:
    """A type without package and type arguments: ``java.util.List<String>`` is ``List``."""
    return kind.partition("<")[0].strip().rpartition(".")[2]


def text_of(syntax: Syntax | None) -> str:
    return (syntax.text or b"").decode("utf-8", "replace") if syntax is not None else ""


def line_of(one: Syntax) -> int:
    return int(one.start_point[0]) + 1


def _string(text: str) -> str:
    quotes = 3 if text.startswith('"""') else 1
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), text[quotes:-quotes])


def _number(text: str) -> int:
    digits = text.rstrip("lL").replace("_", "")
    try:
        return int(digits, 8) if digits.startswith("0") and digits.isdigit() and len(digits) > 1 else int(digits, 0)
    except ValueError:  # a digit that the base lacks
        return 0


class ExpressionReader:
    """Reads expressions. The reader of statements extends it, since lambdas and classes hold statements."""

    def __init__(self, budget: Budget) -> None:
        self.broken: list[int] = []
        """Lines that are not valid."""
        self._budget = budget
        self._depth = 0
        self._statements: dict[str, Callable[[Syntax], list[Node]]] = {}
        self._expressions: dict[str, Callable[[Syntax], Node]] = {
            "string_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=_string(text_of(one))),
            "character_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=_string(text_of(one))),
            "decimal_integer_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=_number(text_of(one))),
            "hex_integer_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=_number(text_of(one))),
            "octal_integer_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=_number(text_of(one))),
            "decimal_floating_point_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=0.5),
            "true": lambda one: Node(Kind.LITERAL, line_of(one), value=True),
            "false": lambda one: Node(Kind.LITERAL, line_of(one), value=False),
            "null_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=None),
            "identifier": lambda one: Node(Kind.NAME, line_of(one), text_of(one)),
            "this": lambda one: Node(Kind.NAME, line_of(one), "this"),
            "super": lambda one: Node(Kind.NAME, line_of(one), "super"),
            "class_literal": lambda one: Node(Kind.LITERAL, line_of(one), value=text_of(one)),
            "field_access": self._field,
            "method_invocation": self._call,
            "object_creation_expression": self._new,
            "array_creation_expression": self._array,
            "array_access": self._item,
            "binary_expression": self._binary,
            "assignment_expression": lambda one: self._assignment(one)[0],
            "ternary_expression": lambda one: self._plain(Kind.OTHER, one, "?"),
            "cast_expression": self._cast,
            "instanceof_expression": lambda one: Node(
                Kind.COMPARE, line_of(one), "instanceof", parts=[self.expr(one.named_children[0])]
            ),
            "unary_expression": self._unary,
            "array_initializer": lambda one: self._plain(Kind.COLLECTION, one),
            "element_value_array_initializer": lambda one: self._plain(Kind.COLLECTION, one),
            "lambda_expression": self._lambda,
            "method_reference": lambda one: Node(Kind.NAME, line_of(one), text_of(one).replace("::", ".")[:200]),
        }  # fmt: skip

    def statements(self, given: Iterable[Syntax]) -> list[Node]:
        raise NotImplementedError

    def _statement(self, one: Syntax) -> list[Node]:
        raise NotImplementedError

    def _enter(self, one: Syntax) -> None:
        self._depth += 1
        self._budget.spend(self._depth)
        if one.type == "ERROR" or one.is_missing:
            self.broken.append(line_of(one))

    def expr(self, one: Syntax) -> Node:
        while one.type in WRAPPERS and one.named_children:
            one = one.named_children[0]
        self._enter(one)
        try:
            if read := self._expressions.get(one.type):
                return read(one)
            if one.type in self._statements:
                return self._statements[one.type](one)[0]
            return self._plain(Kind.OTHER, one, one.type)
        finally:
            self._depth -= 1

    def _plain(self, kind: Kind, one: Syntax, name: str = "") -> Node:
        """A node with what lies below the syntax, statements among it."""
        made = Node(kind, line_of(one), name)
        for child in one.named_children:
            if child.type in ("block", *self._statements):
                made.body += self._statement(child)
            elif not child.type.endswith("comment"):
                made.parts.append(self.expr(child))
        return made

    def _field_of(self, one: Syntax, name: str) -> Node:
        found = one.child_by_field_name(name)
        return self.expr(found) if found is not None else Node(Kind.OTHER, line_of(one))

    def _annotation(self, one: Syntax) -> Node:
        made = Node(Kind.CALL, line_of(one), "@" + text_of(one.child_by_field_name("name")))
        given = one.child_by_field_name("arguments")
        for each in given.named_children if given is not None else ():
            if each.type == "element_value_pair":
                key, value = each.child_by_field_name("key"), each.child_by_field_name("value")
                if value is not None:
                    made.keywords[text_of(key)] = self.expr(value)
            else:
                made.parts.append(self.expr(each))
        return made

    def _marks(self, one: Syntax) -> list[Node]:
        made: list[Node] = []
        for modifiers in [child for child in one.children if child.type == "modifiers"]:
            for each in modifiers.children:
                if each.type in ("annotation", "marker_annotation"):
                    made.append(self._annotation(each))
                else:
                    made.append(Node(Kind.NAME, line_of(each), text_of(each)))
        return made

    def _parameters(self, one: Syntax) -> list[Node]:
        made = []
        for each in one.named_children:
            if each.type == "identifier":
                made.append(Node(Kind.NAME, line_of(each), text_of(each)))
            elif (name := each.child_by_field_name("name")) is not None:
                kind = simple(text_of(each.child_by_field_name("type")))
                made.append(Node(Kind.NAME, line_of(each), text_of(name), type=kind, marks=self._marks(each)))
        return made

    def _lambda(self, one: Syntax) -> Node:
        given, body = one.child_by_field_name("parameters"), one.child_by_field_name("body")
        parts: list[Node] = []
        if given is not None:
            alone = given.type == "identifier"
            parts = [Node(Kind.NAME, line_of(given), text_of(given))] if alone else self._parameters(given)
        below: list[Node] = []
        if body is not None and body.type == "block":
            below = self.statements(body.named_children)
        elif body is not None:
            below = [Node(Kind.RETURN, line_of(body), parts=[self.expr(body)])]
        return Node(Kind.FUNCTION, line_of(one), "lambda", parts=parts, body=below, value=True)

    def _unary(self, one: Syntax) -> Node:
        value = self._field_of(one, "operand")
        operator = text_of(one.child_by_field_name("operator"))
        if operator == "!":
            return Node(Kind.NOT, line_of(one), parts=[value])
        if operator == "-" and type(value.value) in (int, float):
            return Node(Kind.LITERAL, line_of(one), value=-value.value)
        return Node(Kind.OTHER, line_of(one), operator, parts=[value])

    def _cast(self, one: Syntax) -> Node:
        kind = simple(text_of(one.child_by_field_name("type")))
        value = self._field_of(one, "value")
        return Node(Kind.OTHER, line_of(one), "cast", type=kind, parts=[value])

    def _binary(self, one: Syntax) -> Node:
        """A chain of the same operator is one node, since long chains are nested deeply in the grammar's tree."""
        operator = text_of(one.child_by_field_name("operator"))
        operands: list[Syntax] = []
        left: Syntax | None = one
        while left is not None and left.type == "binary_expression":
            if text_of(left.child_by_field_name("operator")) != operator:
                break
            self._budget.spend(self._depth)
            if (right := left.child_by_field_name("right")) is not None:
                operands.append(right)
            left = left.child_by_field_name("left")
        if left is not None:
            operands.append(left)
        kind = {"+": Kind.FORMAT, "&&": Kind.OTHER, "||": Kind.OTHER}.get(operator, Kind.OTHER)
        if operator in ("==", "!=", "<", ">", "<=", ">="):
            kind = Kind.COMPARE
        name = {"&&": "and", "||": "or"}.get(operator, operator)
        return Node(kind, line_of(one), name, parts=[self.expr(each) for each in reversed(operands)])

    def _item(self, one: Syntax) -> Node:
        return Node(
            Kind.SUBSCRIPT, line_of(one), receiver=self._field_of(one, "array"), parts=[self._field_of(one, "index")]
        )

    def _array(self, one: Syntax) -> Node:
        kind = simple(text_of(one.child_by_field_name("type")))
        if (value := one.child_by_field_name("value")) is not None:
            return self.expr(value)
        sizes = [self.expr(each.named_children[0]) for each in one.named_children if each.type == "dimensions_expr"]
        return Node(Kind.CALL, line_of(one), f"new {kind}[]", type=f"{kind}[]", parts=sizes)

    def _new(self, one: Syntax) -> Node:
        kind = simple(text_of(one.child_by_field_name("type")))
        made = Node(Kind.CALL, line_of(one), f"new {kind}", type=kind, parts=self._arguments(one))
        for each in one.named_children:
            if each.type == "class_body":
                made.body = [
                    Node(Kind.CLASS, line_of(each), "", parts=[Node(Kind.NAME, line_of(each), kind)],
                         body=self.statements(each.named_children))
                ]  # fmt: skip
        return made

    def _arguments(self, one: Syntax) -> list[Node]:
        given = one.child_by_field_name("arguments")
        below = given.named_children if given is not None else []
        return [self.expr(each) for each in below if not each.type.endswith("comment")]

    def _call(self, one: Syntax) -> Node:
        owner, name = one.child_by_field_name("object"), text_of(one.child_by_field_name("name"))
        receiver = self.expr(owner) if owner is not None else None
        callee = f"{dotted(receiver)}.{name}" if receiver is not None else name
        return Node(Kind.CALL, line_of(one), callee, receiver=receiver, parts=self._arguments(one))

    def _field(self, one: Syntax) -> Node:
        owner, name = self._field_of(one, "object"), text_of(one.child_by_field_name("field"))
        if owner.kind is Kind.NAME and owner.name == "this":
            return Node(Kind.NAME, line_of(one), name)
        return Node(Kind.ATTRIBUTE, line_of(one), name, receiver=owner)

    def _assignment(self, one: Syntax) -> list[Node]:
        left, right = one.child_by_field_name("left"), one.child_by_field_name("right")
        if left is None or right is None:
            return [Node(Kind.OTHER, line_of(one))]
        place, value = self.expr(left), self.expr(right)
        if text_of(one.child_by_field_name("operator")) == "+=":
            value = Node(Kind.FORMAT, line_of(one), "+", parts=[place, value])
        return [Node(Kind.ASSIGN, line_of(one), dotted(place), receiver=place, parts=[value])]
