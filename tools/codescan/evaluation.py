"""Values of expressions, and the sites in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tools.codescan.knowledge import Knowledge
from tools.codescan.limits import Budget
from tools.codescan.node import Kind, Node, dotted, last
from tools.codescan.site import Module, Scope, Site
from tools.codescan.values import EVERY, SIZE, UNKNOWN, Level, Value, joined

Environment = dict[str, Value]
_OWN = ("self", "cls", "this")


class Evaluation:
    """Evaluates expressions in the environment of a scope. ``Flow`` extends it by statements."""

    def __init__(self, knowledge: Knowledge, budget: Budget, module: Module) -> None:
        self._knowledge = knowledge
        self._budget = budget
        self._module = module
        self._sites: list[Site] = []
        self._scope = Scope(module.tree, module)
        self._owner: Node | None = None
        self._env: Environment = {}
        self._inner: list[tuple[Node, Node | None]] = []
        """Functions inside the scope, with their classes."""
        self._results: dict[str, Value] = {}
        """Return values of the module's functions for foreign arguments, by name."""
        self._statements: dict[Kind, Callable[[Node], None]] = {}
        self._evaluate: dict[Kind, Callable[[Node], Value]] = {
            Kind.LITERAL: lambda node: Value(Level.CONSTANT, constant=node.value),
            Kind.NAME: self._name,
            Kind.ATTRIBUTE: self._attribute,
            Kind.CALL: self._call,
            Kind.FORMAT: self._format,
            Kind.SUBSCRIPT: self._subscript,
            Kind.COLLECTION: self._collection,
            Kind.COMPREHENSION: self._comprehension,
            Kind.COMPARE: self._compare,
            Kind.NOT: self._test_value,
            Kind.FUNCTION: self._function,
            Kind.ASSIGN: self._assign,
        }

    def _block(self, nodes: Iterable[Node]) -> None:
        raise NotImplementedError

    def _value(self, node: Node) -> Value:
        self._budget.spend()
        if evaluate := self._evaluate.get(node.kind):
            return evaluate(node)
        if node.kind in self._statements:
            self._statements[node.kind](node)
            return Value()
        values = [self._value(one) for one in node.parts]
        if node.name == "*":
            self._add("product", node, ("product",), node.parts, values)
        value = joined(values) if values else Value()
        self._block(node.body)
        return replace(value, type=node.type) if node.name == "cast" else value

    def _name(self, node: Node) -> Value:
        if node.name in self._env:
            value = self._env[node.name]
            return replace(value, text=node.name, roots=value.roots | {node.name})
        return self._knowledge.source(node.name) or Value(origin=node.name, text=node.name)

    def _attribute(self, node: Node) -> Value:
        name = dotted(node)
        owner = self._value(node.receiver) if node.receiver is not None else Value()
        if name in self._env:
            return replace(self._env[name], text=name)
        typed = f"{owner.origin}.{node.name}" if owner.origin else name
        found = self._knowledge.source(name) or self._knowledge.source(typed)
        if name.startswith("self.") and not self._serves_requests():
            found = None
        if found is not None and owner.level is not Level.SOURCE:
            return replace(found, text=name)
        level = owner.level if owner.level >= Level.PARAMETER else Level.LOCAL
        clean = owner.clean | self._knowledge.cleans((name, typed))
        roots = owner.roots | {name}
        return replace(owner, level=level, origin=typed, constant=UNKNOWN, type="", text=name, roots=roots, clean=clean)

    def _serves_requests(self) -> bool:
        """Whether ``self.path`` and ``self.headers`` belong to a request."""
        return self._owner is not None and any("Handler" in dotted(base) for base in self._owner.parts)

    def _subscript(self, node: Node) -> Value:
        owner = self._value(node.receiver) if node.receiver is not None else Value()
        for index in node.parts:
            self._value(index)
        name = dotted(node)
        found = self._knowledge.source(name) or self._knowledge.source(f"{owner.origin}[]")
        if found is None or owner.level is Level.SOURCE:
            found = owner
        return replace(found, constant=UNKNOWN, text=name, type=owner.type.removesuffix("[]"))

    def _format(self, node: Node) -> Value:
        values = [self._value(one) for one in node.parts]
        value = joined(values)
        constants = [one.constant for one in values]
        if all(isinstance(one, str) for one in constants) and node.name in ("+", "f"):
            return Value(Level.CONSTANT, constant="".join(constants))
        prefix = next(iter(constants), None)
        return replace(
            value,
            built=value.built or any(one.level > Level.CONSTANT for one in values[1:]),
            origin="pathlib.Path()" if node.name == "/" else "",
            constant=UNKNOWN,
            text="",
            prefix=prefix if isinstance(prefix, str) else next((one.prefix for one in values), ""),
        )

    def _collection(self, node: Node) -> Value:
        values = [self._value(one) for one in node.parts]
        for name, entry in node.keywords.items():
            value = self._value(entry)
            self._add("assign", entry, (name,), [entry], [value])
            values.append(value)
        constant = tuple(one.constant for one in values)
        return replace(joined(values), constant=constant) if values else Value(Level.CONSTANT, constant=constant)

    def _comprehension(self, node: Node) -> Value:
        kept = dict(self._env)
        for one in node.body:
            self._value(one)
            self._checks(one)
        value = joined([self._value(one) for one in node.parts])
        self._env = kept
        return value

    def _compare(self, node: Node) -> Value:
        values = [self._value(one) for one in node.parts]
        self._add("compare", node, (node.name,), node.parts, values)
        return _truth(values)

    def _test_value(self, node: Node) -> Value:
        return _truth([self._value(one) for one in node.parts])

    def _function(self, node: Node) -> Value:
        self._inner.append((node, self._owner))
        for mark in node.marks:
            self._value(mark)
        return Value()

    def _assign(self, node: Node) -> Value:
        value = self._value(node.parts[0]) if node.parts else Value(type=node.type)
        if node.receiver is not None and node.receiver.receiver is not None:
            self._value(node.receiver.receiver)
        known = self._env.get(node.name)
        kind = node.type or value.type or (known.type if known is not None else "")
        value = replace(value, type=kind)
        names = [node.name]
        owner = self._env.get(dotted(node.receiver.receiver)) if node.receiver is not None else None
        if owner is not None and owner.origin and node.receiver is not None:
            names.append(f"{owner.origin}.{node.receiver.name}")
        self._add("assign", node, tuple(names), node.parts, [value])
        if node.receiver is not None and node.receiver.kind is Kind.SUBSCRIPT:
            name = dotted(node.receiver.receiver)
            if name in self._env:
                self._env[name] = joined((self._env[name], value))
        else:
            self._env[node.name] = value
        return value

    def _call(self, node: Node) -> Value:
        receiver = self._value(node.receiver) if node.receiver is not None else None
        args = [self._value(one) for one in node.parts]
        keywords = {name: self._value(one) for name, one in node.keywords.items()}
        names = self._names(node, receiver)
        self._scope.calls.update(names)
        self._module.calls.update(names)
        for name, one in node.keywords.items():
            self._add("assign", one, (name,), [one], [keywords[name]])
        self._sites.append(Site("call", node, names, self._scope, tuple(args), keywords, receiver, tuple(node.parts)))
        self._block(node.body)
        self._collected(node, receiver, args)
        everything = [*args, *keywords.values()]
        value = self._returned_by(node, everything) or self._knowledge.result(names, receiver, everything)
        self._checked_arguments(names, node)
        return replace(value, origin=names[-1] + "()", type=node.type)

    def _returned_by(self, node: Node, args: list[Value]) -> Value | None:
        """The result of a call of the module's own function; None for other calls."""
        own = node.receiver is None or node.receiver.name in _OWN
        known = self._results.get(last(node.name)) if own else None
        if known is None or known.level < Level.PARAMETER:
            return known
        given = joined(args) if args else Value()
        return replace(given, built=given.built or (known.built and given.level > Level.CONSTANT)).checked(known.clean)

    def _names(self, node: Node, receiver: Value | None) -> tuple[str, ...]:
        names = [node.name]
        if receiver is not None:
            method = last(node.name)
            if receiver.origin and f"{receiver.origin}.{method}" != node.name:
                names.append(f"{receiver.origin}.{method}")
            if receiver.type:
                names.append(f"{receiver.type}.{method}")
        elif node.name in self._env and (origin := self._env[node.name].origin):
            names.append(origin)
        return tuple(names)

    def _collected(self, node: Node, receiver: Value | None, args: list[Value]) -> None:
        """A collection or builder becomes as foreign as the most foreign value that is added to it."""
        if receiver is None or not self._knowledge.collects(last(node.name)):
            return
        owner = node.receiver
        while owner is not None and owner.kind is Kind.CALL and self._knowledge.collects(last(owner.name)):
            owner = owner.receiver  # builder.append(a).append(b)
        name = dotted(owner)
        if name not in self._env:
            return
        known = self._env[name]
        value = joined((known, *args))
        text = last(node.name) in ("append", "insert") and value.level > Level.CONSTANT
        self._env[name] = replace(value, origin=known.origin, type=known.type, built=value.built or text)

    def _checked_arguments(self, names: tuple[str, ...], node: Node) -> None:
        """A call such as ``validate(name)`` raises for what it refuses, so its arguments are checked afterwards."""
        if topics := self._knowledge.validator_topics(names):
            for one in node.parts:
                self._mark(one, topics)

    # checks

    def _checks(self, test: Node) -> None:
        """Marks variables that a condition tests."""
        for node in test.walk():
            if node.kind is Kind.CALL:
                receiver = self._value_quietly(node.receiver)
                topics = self._knowledge.check_topics(self._names(node, receiver))
                if topics:
                    for one in [node.receiver, *node.parts]:
                        self._mark(one, topics)
            elif node.kind is Kind.COMPARE:
                self._checked_by_comparison(node)

    def _checked_by_comparison(self, node: Node) -> None:
        left, right = node.parts[0], node.parts[-1]
        if node.name in ("in", "not in"):
            if dotted(right).endswith(".parents"):
                self._mark(right, {"path"})
            elif left.kind is not Kind.LITERAL and self._value_quietly(right).level <= Level.LOCAL:
                self._mark(left, {EVERY})
        elif node.name in ("<", "<=", ">", ">="):
            for one in (left, right):
                self._mark(one, {SIZE})
        elif node.name == "!=" and self._value_quietly(right).level <= Level.LOCAL and right.value != "":
            self._mark(left, {EVERY} if right.value is not None or right.kind is not Kind.LITERAL else set())

    def _value_quietly(self, node: Node | None) -> Value:
        """A value, without adding its sites once more."""
        if node is None:
            return Value()
        kept, inner = len(self._sites), len(self._inner)
        value = self._value(node)
        del self._sites[kept:], self._inner[inner:]
        return value

    def _mark(self, node: Node | None, topics: Iterable[str]) -> None:
        if node is None:
            return
        for name in {one.name for one in node.walk() if one.kind is Kind.NAME} | {dotted(node)}:
            known = self._env.get(name)
            if known is None or name in _OWN:
                continue
            self._env[name] = known.checked(topics)
            for root in known.roots:
                if root in self._env:
                    self._env[root] = self._env[root].checked(topics)

    def _add(
        self, event: str, node: Node, names: tuple[str, ...], nodes: list[Node], values: list[Value] | None = None
    ) -> None:
        self._sites.append(Site(event, node, names, self._scope, tuple(values or ()), {}, None, tuple(nodes)))


def _truth(values: list[Value]) -> Value:
    """A condition's value: true or false, whatever it looks at."""
    return Value(roots=frozenset().union(*(value.roots for value in values)))
