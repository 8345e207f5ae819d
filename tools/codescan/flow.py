"""Light data flow inside each function: from sources through variables to sites that rules judge.

Statements are read in order. Branches are read one after the other and joined. A test of a variable by a checking
call, or against a fixed collection, makes the variable count as checked for that call's topics. Of the module's own
functions it is known what they return. The results of other calls are as foreign as their arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from tools.codescan.evaluation import Environment, Evaluation
from tools.codescan.knowledge import Knowledge
from tools.codescan.limits import Budget
from tools.codescan.node import Kind, Node, ends
from tools.codescan.site import Module, Scope, Site
from tools.codescan.values import Value, joined

Visit = Callable[[list[Site]], None]
_ERROR = Value(labels=frozenset({"exception"}), type="Exception")


class Flow(Evaluation):
    """Reads a module, scope by scope, and hands the sites of each scope to ``visit``."""

    def __init__(self, knowledge: Knowledge, budget: Budget, module: Module, visit: Visit) -> None:
        super().__init__(knowledge, budget, module)
        self._visit = visit
        self._returned: dict[str, list[Value]] = {}
        self._later: deque[tuple[Node, Node | None, Environment]] = deque()
        self._statements |= {
            Kind.CLASS: self._class,
            Kind.IF: self._if,
            Kind.LOOP: self._loop,
            Kind.WITH: self._with,
            Kind.TRY: self._try,
            Kind.RETURN: self._return,
            Kind.RAISE: lambda node: self._leaf("raise", node),
            Kind.ASSERT: self._assert,
            Kind.BLOCK: lambda node: self._block(node.body),
            Kind.IMPORT: lambda node: None,
            Kind.JUMP: lambda node: None,
        }

    def run(self) -> None:
        """Reads everything twice: what functions return is known in the second time, which hands out the sites.

        Raises:
            NotExamined: a limit is passed.
        """
        visit, self._visit = self._visit, lambda sites: None
        self._read()
        self._results = {name: joined(values) for name, values in self._returned.items()}
        self._visit, self._env = visit, {}
        self._read()

    def _read(self) -> None:
        self._returned.clear()
        self._scope, self._owner = Scope(self._module.tree, self._module), None
        self._block(self._module.tree.body)
        self._module.calls |= self._scope.calls
        self._close()
        while self._later:
            node, owner, env = self._later.popleft()
            self._enter(node, owner, env)

    def _close(self) -> None:
        self._later += [(node, owner, self._env) for node, owner in self._inner]  # all of them share one environment
        self._inner.clear()
        sites, self._sites = self._sites, []
        self._visit(sites)

    def _enter(self, node: Node, owner: Node | None, env: Environment) -> None:
        self._scope, self._owner, self._env = Scope(node, self._module, owner), owner, dict(env)
        routed = self._knowledge.is_route(node)
        for parameter in node.parts:
            self._env[parameter.name] = self._knowledge.parameter(node, parameter, routed=routed)
        self._add("function", node, (node.name,), [])
        for name, default in node.keywords.items():
            self._add("assign", default, (name,), [default], [self._value(default)])
        self._block(node.body)
        self._close()

    def _block(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self._statement(node)

    def _statement(self, node: Node) -> None:
        if read := self._statements.get(node.kind):
            self._budget.check_time()
            read(node)
        else:
            self._value(node)

    def _class(self, node: Node) -> None:
        around, self._owner = self._owner, node
        self._add("class", node, (node.name,), [])
        for mark in node.marks:
            self._value(mark)
        self._block(sorted(node.body, key=lambda one: one.kind is Kind.FUNCTION))
        self._owner = around

    def _if(self, node: Node) -> None:
        after: Environment | None = None
        for index, block in enumerate(node.body):
            if index < len(node.parts):
                self._value(node.parts[index])
                self._checks(node.parts[index])
            kept = dict(self._env)
            self._block(block.body)
            if not ends(block.body):
                after = _merged(after, self._env)
            self._env = kept
        if len(node.body) <= len(node.parts):  # without else
            after = _merged(after, self._env)
        if after is not None:
            self._env = after

    def _loop(self, node: Node) -> None:
        for test in node.parts:
            self._value(test)
            self._checks(test)
        self._block(node.body)

    def _with(self, node: Node) -> None:
        for one in node.parts:
            self._value(one)
        self._block(node.body)

    def _try(self, node: Node) -> None:
        before = dict(self._env)
        self._block(node.body)
        after = self._env
        for handler in node.parts:
            self._env = {**before, str(handler.value or ""): _ERROR}
            self._add("handler", handler, (handler.name,), [])
            self._block(handler.body)
            if not ends(handler.body):
                after = _merged(self._env, after)
        self._env = after
        if node.orelse:
            self._add("finally", node, ("finally",), [])
        self._block(node.orelse)

    def _return(self, node: Node) -> None:
        values = [self._value(one) for one in node.parts]
        self._returned.setdefault(self._scope.node.name, []).extend(values)
        self._add("return", node, ("return",), node.parts, values)

    def _leaf(self, event: str, node: Node) -> None:
        self._add(event, node, (event,), node.parts, [self._value(one) for one in node.parts])
        for one in node.body:
            self._statement(one)

    def _assert(self, node: Node) -> None:
        self._add("assert", node, ("assert",), node.parts, [self._value(one) for one in node.parts])
        for test in node.parts:
            self._checks(test)


def _merged(first: Environment | None, second: Environment) -> Environment:
    """Merges the environments after two branches, of which either may have run."""
    if first is None:
        return second
    merged = dict(second)
    for name, value in first.items():
        known = merged.get(name)
        if known is None:
            merged[name] = value
        elif known is not value and known != value:
            both = joined((known, value))
            merged[name] = replace(both, origin=known.origin or value.origin, type=known.type or value.type)
    return merged
