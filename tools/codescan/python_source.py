"""Reads Python into the common syntax tree, with names resolved through the module's imports."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tools.codescan.limits import Budget, NotExamined
from tools.codescan.node import Kind, Node, dotted

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*",
    ast.Div: "/", ast.Mod: "%", ast.BitOr: "|", ast.BitAnd: "&", ast.LShift: "<<", ast.Or: "or", ast.And: "and",
}  # fmt: skip
_TEXT_OPERATORS = (ast.Add, ast.Mod, ast.Div)
"""``/`` joins paths."""


_FILTERS = threading.Lock()
"""Warning filters belong to the process. Two threads that change and restore them would leave them changed."""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignores warnings inside the context."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse_python(text: str) -> ast.Module:
    """Python's own syntax tree. The text is not compiled further, and never run.

    Raises:
        NotExamined: the text is not valid Python, or too deeply nested for the parser.
    """
    try:
        with without_warnings():  # about the scanned text: invalid escapes, "is" with a literal
            return ast.parse(text)
    except SyntaxError as error:
        raise NotExamined(f"line {error.lineno or 1}: not valid Python: {error.msg}") from None
    except ValueError as error:  # null bytes, lone surrogates
        raise NotExamined(f"not valid Python: {error}") from None
    except (MemoryError, RecursionError):
        raise NotExamined("nested too deeply for Python's parser; split the code into functions") from None


def aliases(tree: ast.Module) -> dict[str, str]:
    """Names that imports bind, with what they stand for: ``{"np": "numpy", "run": "subprocess.run"}``."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def python_tree(tree: ast.Module, budget: Budget) -> Node:
    """The module as a BLOCK. Raises NotExamined: a limit is passed."""
    reader = _Reader(aliases(tree), budget)
    return Node(Kind.BLOCK, 1, body=reader.block(tree.body))


class _Reader:
    def __init__(self, names: dict[str, str], budget: Budget) -> None:
        self._names = names
        self._budget = budget
        self._depth = 0

    def block(self, statements: Iterable[ast.stmt]) -> list[Node]:
        return [node for statement in statements for node in self._statement(statement)]

    def _statement(self, node: ast.stmt) -> list[Node]:
        self._enter()
        try:
            return self._simple(node) or self._binding(node) or self._compound(node)
        finally:
            self._depth -= 1

    def _enter(self) -> None:
        self._depth += 1
        self._budget.spend(self._depth)

    def _simple(self, node: ast.stmt) -> list[Node]:
        line = node.lineno
        match node:
            case ast.Expr(value=value):
                return [self.expr(value)]
            case ast.Return(value=value):
                return [Node(Kind.RETURN, line, parts=self._some(value))]
            case ast.Raise(exc=error):
                return [Node(Kind.RAISE, line, parts=self._some(error))]
            case ast.Assert(test=test):
                return [Node(Kind.ASSERT, line, parts=[self.expr(test)])]
            case ast.Break() | ast.Continue():
                return [Node(Kind.JUMP, line)]
            case ast.Pass() | ast.Global() | ast.Nonlocal() | ast.Delete():
                return [Node(Kind.BLOCK, line)]
        return []

    def _binding(self, node: ast.stmt) -> list[Node]:
        line = node.lineno
        match node:
            case ast.Assign(targets=targets, value=value):
                return [made for target in targets for made in self._assign(target, value, line)]
            case ast.AnnAssign(target=target, annotation=kind, value=value):
                made = self._assign(target, value, line) if value else [Node(Kind.BLOCK, line)]
                made[0].type = dotted(self.expr(kind))
                return made
            case ast.AugAssign(target=target, op=op, value=value):
                joined = ast.copy_location(ast.BinOp(target, op, value), node)
                return self._assign(target, joined, line)
            case ast.Import(names=names):
                return [Node(Kind.IMPORT, line, alias.name) for alias in names]
            case ast.ImportFrom(module=module, names=names):
                return [Node(Kind.IMPORT, line, f"{module or ''}.{alias.name}") for alias in names]
        return []

    def _compound(self, node: ast.stmt) -> list[Node]:
        line = node.lineno
        match node:
            case ast.If():
                return [self._if(node)]
            case ast.For(target=target, iter=iterable) | ast.AsyncFor(target=target, iter=iterable):
                bound = self._assign(target, iterable, line)
                return [Node(Kind.LOOP, line, "for", body=[*bound, *self.block(node.body), *self.block(node.orelse)])]
            case ast.While(test=test, body=body, orelse=orelse):
                return [Node(Kind.LOOP, line, "while", parts=[self.expr(test)], body=self.block([*body, *orelse]))]
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                return [Node(Kind.WITH, line, parts=self._resources(items), body=self.block(body))]
            case ast.Try() | ast.TryStar():
                return [self._try(node)]
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return [self._function(node)]
            case ast.ClassDef(name=name, bases=bases, body=body, decorator_list=marks):
                parts = [self.expr(base) for base in bases]
                return [Node(Kind.CLASS, line, name, parts=parts, body=self.block(body), marks=self._all(marks))]
            case ast.Match(subject=subject, cases=cases):
                blocks = [Node(Kind.BLOCK, line, body=self.block(case.body)) for case in cases]
                return [Node(Kind.IF, line, parts=[self.expr(subject)], body=blocks)]
        return [Node(Kind.OTHER, line, type(node).__name__)]

    def _if(self, node: ast.If) -> Node:
        made = Node(Kind.IF, node.lineno)
        rest: list[ast.stmt] = [node]
        while len(rest) == 1 and isinstance(branch := rest[0], ast.If):  # a chain of elif is nested in Python's tree
            self._budget.spend(self._depth)
            made.parts.append(self.expr(branch.test))
            made.body.append(Node(Kind.BLOCK, branch.lineno, body=self.block(branch.body)))
            rest = branch.orelse
        if rest:
            made.body.append(Node(Kind.BLOCK, node.lineno, body=self.block(rest)))
        return made

    def _try(self, node: ast.Try | ast.TryStar) -> Node:
        handlers = []
        for handler in node.handlers:
            types = handler.type.elts if isinstance(handler.type, ast.Tuple) else self._given(handler.type)
            names = "|".join(dotted(self.expr(kind)) for kind in types)
            handlers.append(
                Node(Kind.HANDLER, handler.lineno, names, value=handler.name, body=self.block(handler.body))
            )
        body = self.block([*node.body, *node.orelse])
        return Node(Kind.TRY, node.lineno, parts=handlers, body=body, orelse=self.block(node.finalbody))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Node:
        given = node.args
        parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        parameters += [extra for extra in (given.vararg, given.kwarg) if extra]
        parts = []
        for one in parameters:
            kind = dotted(self.expr(one.annotation)) if one.annotation else ""
            parts.append(Node(Kind.NAME, one.lineno, one.arg, type=kind))
        named = [*given.posonlyargs, *given.args][::-1]
        defaults: list[tuple[ast.arg, ast.expr]] = list(zip(named, given.defaults[::-1], strict=False))
        defaults += [(one, value) for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value]
        keywords = {one.arg: self.expr(value) for one, value in defaults}
        body = self.block(node.body)
        marks = self._all(node.decorator_list)
        returned = dotted(self.expr(node.returns)) if node.returns else ""
        return Node(
            Kind.FUNCTION, node.lineno, node.name, type=returned, parts=parts, keywords=keywords, body=body, marks=marks
        )

    def _resources(self, items: list[ast.withitem]) -> list[Node]:
        made: list[Node] = []
        for item in items:
            value = item.context_expr
            if item.optional_vars is None:
                made.append(self.expr(value))
            else:
                made += self._assign(item.optional_vars, value, value.lineno)
        return made

    def _assign(self, target: ast.expr, value: ast.expr, line: int) -> list[Node]:
        if isinstance(target, ast.Tuple | ast.List):
            values: list[ast.expr] = [value] * len(target.elts)
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                values = value.elts
            pairs = zip(target.elts, values, strict=True)
            return [made for one, each in pairs for made in self._assign(one, each, line)] or [Node(Kind.BLOCK, line)]
        if isinstance(target, ast.Starred):
            target = target.value
        place = self.expr(target)
        name = dotted(place)
        if place.kind is Kind.SUBSCRIPT and place.parts and isinstance(place.parts[0].value, str):
            name = f"{dotted(place.receiver)}[{place.parts[0].value}]"
        return [Node(Kind.ASSIGN, line, name, receiver=place, parts=[self.expr(value)])]

    def expr(self, node: ast.expr) -> Node:
        self._enter()
        try:
            return self._named(node) or self._composed(node)
        finally:
            self._depth -= 1

    def _named(self, node: ast.expr) -> Node | None:
        line = node.lineno
        match node:
            case ast.Constant(value=value):
                return Node(Kind.LITERAL, line, value=value)
            case ast.Name(id=name):
                return Node(Kind.NAME, line, self._names.get(name, name))
            case ast.Attribute(value=value, attr=name):
                return Node(Kind.ATTRIBUTE, line, name, receiver=self.expr(value))
            case ast.Subscript(value=value, slice=index):
                return Node(Kind.SUBSCRIPT, line, receiver=self.expr(value), parts=[self.expr(index)])
            case ast.Call():
                return self._call(node)
            case ast.Starred(value=value) | ast.Await(value=value) | ast.Yield(value=ast.expr() as value):
                return self.expr(value)
            case ast.NamedExpr(target=target, value=value):
                return self._assign(target, value, line)[0]
        return None

    def _composed(self, node: ast.expr) -> Node:
        line = node.lineno
        match node:
            case ast.JoinedStr(values=values):
                return Node(Kind.FORMAT, line, "f", parts=[self.expr(value) for value in values])
            case ast.FormattedValue(value=value, conversion=conversion):
                read = self.expr(value)
                return read if conversion < 0 else Node(Kind.CALL, line, "repr", parts=[read])
            case ast.BinOp():
                return self._binary(node)
            case ast.Compare(left=left, ops=ops, comparators=right):
                return Node(Kind.COMPARE, line, _OPERATORS.get(type(ops[0]), "?"), parts=self._all([left, *right]))
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return Node(Kind.COLLECTION, line, type(node).__name__.lower(), parts=self._all(items))
            case ast.Dict():
                return self._dict(node)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.Lambda(args=arguments, body=body):
                parts = [Node(Kind.NAME, line, one.arg) for one in arguments.args]
                result = Node(Kind.RETURN, line, parts=[self.expr(body)])
                return Node(Kind.FUNCTION, line, "lambda", parts=parts, body=[result])
        return self._operation(node)

    def _operation(self, node: ast.expr) -> Node:
        line = node.lineno
        match node:
            case ast.BoolOp(op=op, values=values):
                return Node(Kind.OTHER, line, _OPERATORS[type(op)], parts=self._all(values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Node(Kind.NOT, line, parts=[self.expr(operand)])
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return Node(Kind.LITERAL, line, value=-value)
        below = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return Node(Kind.OTHER, line, type(node).__name__, parts=self._all(below))

    def _call(self, node: ast.Call) -> Node:
        callee = self.expr(node.func)
        receiver = callee.receiver if callee.kind is Kind.ATTRIBUTE else None
        if callee.kind not in (Kind.NAME, Kind.ATTRIBUTE):
            receiver = callee  # f()(): the first call is read too
        keywords = {one.arg: self.expr(one.value) for one in node.keywords if one.arg}
        spread = [self.expr(one.value) for one in node.keywords if not one.arg]
        parts = self._all(node.args)
        made = Node(Kind.CALL, node.lineno, dotted(callee), receiver=receiver, parts=parts, keywords=keywords)
        if spread:
            made.keywords["**"] = Node(Kind.OTHER, node.lineno, "**", parts=spread)
        return made

    def _binary(self, node: ast.BinOp) -> Node:
        """A chain of the same operator is one node, since long chains are nested deeply in Python's tree."""
        operands: list[ast.expr] = [node.right]
        left = node.left
        while isinstance(left, ast.BinOp) and type(left.op) is type(node.op):
            self._budget.spend(self._depth)
            operands.append(left.right)
            left = left.left
        parts = self._all([left, *reversed(operands)])
        kind = Kind.FORMAT if isinstance(node.op, _TEXT_OPERATORS) else Kind.OTHER
        return Node(kind, node.lineno, _OPERATORS.get(type(node.op), "?"), parts=parts)

    def _dict(self, node: ast.Dict) -> Node:
        made = Node(Kind.COLLECTION, node.lineno, "dict")
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                made.keywords[key.value] = self.expr(value)
            else:
                made.parts += [*self._some(key), self.expr(value)]
        return made

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Node:
        body = []
        for one in node.generators:
            body += self._assign(one.target, one.iter, node.lineno) + self._all(one.ifs)
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return Node(Kind.COMPREHENSION, node.lineno, parts=self._all(elements), body=body)

    def _all(self, nodes: Iterable[ast.expr]) -> list[Node]:
        return [self.expr(node) for node in nodes]

    def _some(self, node: ast.expr | None) -> list[Node]:
        return self._all(self._given(node))

    @staticmethod
    def _given(node: ast.expr | None) -> list[ast.expr]:
        return [] if node is None else [node]
