"""Light data flow inside each function: from sources through variables to sites that rules judge.

Statements are read once, in order. Branches are read one after the other and joined. A test of a variable by a
checking call, or against a fixed collection, makes the variable count as checked for that call's topics. Calls of
other functions are not followed: their results are as foreign as their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tools.codescan.knowledge import Knowledge
from tools.codescan.limits import Budget
from tools.codescan.node import Kind, Node, dotted, ends, last
from tools.codescan.site import Module, Scope, Site
from tools.codescan.values import EVERY, SIZE, UNKNOWN, Level, Value, joined

Environment = dict[str, Value]
Visit = Callable[[list[Site]], None]
_OWN = ("self", "cls", "this")
_ERROR = Value(labels=frozenset({"exception"}), type="Exception")


class Flow:
    """Reads a module, scope by scope, and hands the sites of each scope to ``visit``."""

    def __init__(self, knowledge: Knowledge, budget: Budget, module: Module, visit: Visit) -> None:
        self._knowledge = knowledge
        self._budget = budget
        self._module = module
        self._visit = visit
        self._sites: list[Site] = []
        self._scope = Scope(module.tree, module)
        self._env: Environment = {}
        self._returned: dict[str, list[Value]] = {}
        self._results: dict[str, Value] = {}
        """What functions of the module return, by name, for foreign arguments."""
        self._later: list[tuple[Node, Node | None, Environment]] = []
        self._owner: Node | None = None
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
        self._statements: dict[Kind, Callable[[Node], None]] = {
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
            node, owner, env = self._later.pop(0)
            self._enter(node, owner, env)

    def _close(self) -> None:
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

    # statements

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
        self._block(sorted(node.body, key=lambda one: one.kind is Kind.FUNCTION))
        self._owner = around

    def _if(self, node: Node) -> None:
        before, after = dict(self._env), []
        for index, block in enumerate(node.body):
            if index < len(node.parts):
                self._value(node.parts[index])
                self._checks(node.parts[index])
            kept = dict(self._env)
            self._block(block.body)
            if not ends(block.body):
                after.append(self._env)
            self._env = kept
        if len(node.body) <= len(node.parts):
            after.append(self._env)
        self._env = self._merged(before, after)

    def _merged(self, before: Environment, after: list[Environment]) -> Environment:
        if not after:
            return before
        merged = dict(after[-1])
        for other in after[:-1]:
            for name, value in other.items():
                known = merged.get(name)
                if known is None or known == value:
                    merged[name] = value
                else:
                    both = joined((known, value))
                    merged[name] = replace(both, origin=known.origin or value.origin, type=known.type or value.type)
        return merged

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
        after = [self._env]
        for handler in node.parts:
            self._env = {**before, str(handler.value or ""): _ERROR}
            self._add("handler", handler, (handler.name,), [])
            self._block(handler.body)
            if not ends(handler.body):
                after.insert(0, self._env)
        self._env = self._merged(before, after)
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

    # expressions

    def _value(self, node: Node) -> Value:
        self._budget.spend()
        if evaluate := self._evaluate.get(node.kind):
            return evaluate(node)
        if node.kind in self._statements:
            self._statements[node.kind](node)
            return Value()
        value = joined([self._value(one) for one in node.parts]) if node.parts else Value()
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
        self._later.append((node, self._owner, dict(self._env)))
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
        """What is added to a collection or a builder makes it as foreign as itself."""
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
        kept, later = len(self._sites), len(self._later)
        value = self._value(node)
        del self._sites[kept:], self._later[later:]
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
