"""Reads Java into the common syntax tree, by tree-sitter's grammar. Nothing is compiled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

from tools.codescan.java_expressions import WRAPPERS, ExpressionReader, line_of, simple, text_of
from tools.codescan.limits import Budget, NotExamined
from tools.codescan.node import Kind, Node

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node as Syntax
    from tree_sitter import Parser

_TYPES = ("class_declaration", "interface_declaration", "enum_declaration", "record_declaration")


def _parser() -> Parser:
    """A new parser: scans run in several threads, and a parser serves one."""
    try:
        from tree_sitter import Parser

        return Parser(_grammar())
    except ImportError:
        raise NotExamined("Java needs the packages of the group code: pip install -e '.[code]'") from None


@cache
def _grammar() -> Grammar:
    import tree_sitter_java
    from tree_sitter import Language

    return Language(tree_sitter_java.language())


def java_tree(text: str, budget: Budget) -> tuple[Node, list[str]]:
    """The compilation unit as a BLOCK, and a message for each place that is not valid Java.

    Raises:
        NotExamined: a limit is passed, or the grammar is not installed.
    """
    root = _parser().parse(text.encode("utf-8", "replace")).root_node
    reader = _Reader(budget)
    body = reader.statements(root.named_children)
    if root.has_error and not reader.broken:
        reader.broken.append(1)
    errors = [f"line {line}: not valid Java" for line in dict.fromkeys(reader.broken[:5])]
    return Node(Kind.BLOCK, 1, body=body), errors


class _Reader(ExpressionReader):
    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        statements: dict[str, Callable[[Syntax], list[Node]]] = {
            "import_declaration": self._import,
            "local_variable_declaration": self._variables,
            "field_declaration": self._variables,
            "constant_declaration": self._variables,
            "method_declaration": self._function,
            "constructor_declaration": self._function,
            "compact_constructor_declaration": self._function,
            "if_statement": self._if,
            "while_statement": self._loop,
            "do_statement": self._loop,
            "for_statement": self._for,
            "enhanced_for_statement": self._for_each,
            "try_statement": self._try,
            "try_with_resources_statement": self._try,
            "switch_expression": self._switch,
            "return_statement": lambda one: [self._plain(Kind.RETURN, one)],
            "yield_statement": lambda one: [self._plain(Kind.OTHER, one)],
            "throw_statement": lambda one: [self._plain(Kind.RAISE, one)],
            "assert_statement": lambda one: [self._plain(Kind.ASSERT, one)],
            "synchronized_statement": lambda one: [self._plain(Kind.WITH, one)],
            "break_statement": lambda one: [Node(Kind.JUMP, line_of(one))],
            "continue_statement": lambda one: [Node(Kind.JUMP, line_of(one))],
            "static_initializer": lambda one: self.statements(one.named_children),
            "block": lambda one: [Node(Kind.BLOCK, line_of(one), body=self.statements(one.named_children))],
            "constructor_body": lambda one: [Node(Kind.BLOCK, line_of(one), body=self.statements(one.named_children))],
        }
        self._statements |= statements | dict.fromkeys(_TYPES, self._class)

    def statements(self, given: Iterable[Syntax]) -> list[Node]:
        return [node for one in given for node in self._statement(one)]

    def _statement(self, one: Syntax) -> list[Node]:
        if one.type.endswith("comment"):
            return []
        self._enter(one)
        try:
            if one.type in WRAPPERS and one.named_children:
                return self.statements(one.named_children)
            read = self._statements.get(one.type)
            return read(one) if read else [self.expr(one)]
        finally:
            self._depth -= 1

    def _import(self, one: Syntax) -> list[Node]:
        name = text_of(one).removeprefix("import").strip().removeprefix("static ").rstrip("; ")
        return [Node(Kind.IMPORT, line_of(one), name.replace(" ", ""))]

    def _variables(self, one: Syntax) -> list[Node]:
        kind, made = simple(text_of(one.child_by_field_name("type"))), []
        marks = self._marks(one)
        for each in one.children_by_field_name("declarator"):
            name, value = each.child_by_field_name("name"), each.child_by_field_name("value")
            place = Node(Kind.NAME, line_of(each), text_of(name), type=kind)
            parts = [self.expr(value)] if value is not None else []
            made.append(
                Node(Kind.ASSIGN, line_of(each), place.name, type=kind, receiver=place, parts=parts, marks=marks)
            )
        return made

    def _class(self, one: Syntax) -> list[Node]:
        body = one.child_by_field_name("body")
        below = list(body.named_children) if body is not None else []
        for nested in [each for each in below if each.type == "enum_body_declarations"]:
            below += nested.named_children
        bases = [
            Node(Kind.NAME, line_of(one), simple(name))
            for field in ("superclass", "interfaces")
            for name in re.split(r"[\s,]+", text_of(one.child_by_field_name(field)))
            if name not in ("extends", "implements", "")
        ]
        name = text_of(one.child_by_field_name("name"))
        return [Node(Kind.CLASS, line_of(one), name, parts=bases, marks=self._marks(one), body=self.statements(below))]

    def _function(self, one: Syntax) -> list[Node]:
        body = one.child_by_field_name("body")
        kind = simple(text_of(one.child_by_field_name("type")))
        made = Node(
            Kind.FUNCTION, line_of(one), text_of(one.child_by_field_name("name")), type=kind, marks=self._marks(one)
        )
        parameters = one.child_by_field_name("parameters")
        made.parts = self._parameters(parameters) if parameters is not None else []
        made.body = self.statements(body.named_children) if body is not None else []
        made.value = body is not None  # an abstract method has no body
        return [made]

    def _if(self, one: Syntax) -> list[Node]:
        made = Node(Kind.IF, line_of(one))
        rest: Syntax | None = one
        while rest is not None and rest.type == "if_statement":  # a chain of else-if is nested in the grammar's tree
            self._budget.spend(self._depth)
            made.parts.append(self._field_of(rest, "condition"))
            made.body.append(self._block_of(rest, "consequence"))
            rest = rest.child_by_field_name("alternative")
        if rest is not None:
            made.body.append(Node(Kind.BLOCK, line_of(rest), body=self._statement(rest)))
        return [made]

    def _block_of(self, one: Syntax, name: str) -> Node:
        found = one.child_by_field_name(name)
        if found is None:
            return Node(Kind.BLOCK, line_of(one))
        below = found.named_children if found.type == "block" else [found]
        return Node(Kind.BLOCK, line_of(found), body=self.statements(below))

    def _loop(self, one: Syntax) -> list[Node]:
        body = self._block_of(one, "body").body
        return [Node(Kind.LOOP, line_of(one), "while", parts=[self._field_of(one, "condition")], body=body)]

    def _for(self, one: Syntax) -> list[Node]:
        first = [node for each in one.children_by_field_name("init") for node in self._statement(each)]
        tests = [self.expr(each) for each in one.children_by_field_name("condition")]
        body = [*first, *self._block_of(one, "body").body]
        return [Node(Kind.LOOP, line_of(one), "while", parts=tests, body=body)]

    def _for_each(self, one: Syntax) -> list[Node]:
        kind = simple(text_of(one.child_by_field_name("type")))
        place = Node(Kind.NAME, line_of(one), text_of(one.child_by_field_name("name")), type=kind)
        values = self._field_of(one, "value")
        bound = Node(Kind.ASSIGN, line_of(one), place.name, type=kind, receiver=place, parts=[values])
        return [Node(Kind.LOOP, line_of(one), "for", body=[bound, *self._block_of(one, "body").body])]

    def _try(self, one: Syntax) -> list[Node]:
        made = Node(Kind.TRY, line_of(one), body=self._block_of(one, "body").body)
        for each in one.named_children:
            if each.type == "catch_clause":
                made.parts.append(self._handler(each))
            elif each.type == "finally_clause":
                made.orelse = self.statements([node for node in each.named_children if node.type == "block"])
        resources = one.child_by_field_name("resources")
        if resources is None:
            return [made]
        opened = [self._resource(each) for each in resources.named_children if each.type == "resource"]
        return [Node(Kind.WITH, line_of(one), parts=opened, body=[made])]

    def _resource(self, one: Syntax) -> Node:
        name, value = one.child_by_field_name("name"), one.child_by_field_name("value")
        if name is None or value is None:
            return self.expr(one.named_children[0]) if one.named_children else Node(Kind.OTHER, line_of(one))
        kind = simple(text_of(one.child_by_field_name("type")))
        place = Node(Kind.NAME, line_of(one), text_of(name), type=kind)
        return Node(Kind.ASSIGN, line_of(one), place.name, type=kind, receiver=place, parts=[self.expr(value)])

    def _handler(self, one: Syntax) -> Node:
        made = Node(Kind.HANDLER, line_of(one), body=self._block_of(one, "body").body)
        for each in one.named_children:
            if each.type == "catch_formal_parameter":
                kinds = [child for child in each.named_children if child.type == "catch_type"]
                made.name = "|".join(simple(text_of(kind)) for group in kinds for kind in group.named_children)
                made.value = text_of(each.child_by_field_name("name"))
        return made

    def _switch(self, one: Syntax) -> list[Node]:
        made = Node(Kind.IF, line_of(one), parts=[self._field_of(one, "condition")])
        body = one.child_by_field_name("body")
        for group in body.named_children if body is not None else ():
            below = [each for each in group.named_children if each.type != "switch_label"]
            made.body.append(Node(Kind.BLOCK, line_of(group), body=self.statements(below)))
        return [made]
