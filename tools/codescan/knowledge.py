"""Facts about a language's libraries for the data flow: sources, and calls that clean, check or carry values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tools.codescan.globs import matches
from tools.codescan.node import Kind, Node, dotted, last
from tools.codescan.values import EVERY, Level, Value, joined

Key = TypeVar("Key")
Kept = TypeVar("Kept")
MOST_KEPT = 20_000
"""Names whose facts are kept between scans."""
Topics = tuple[tuple[tuple[str, ...], frozenset[str]], ...]
"""Patterns of names, with the topics that they stand for."""


@dataclass(frozen=True)
class Knowledge:
    """Facts about a language's libraries, from the head of its rule files."""

    sources: Topics = ()  # names whose value comes from outside, with labels
    cleaners: Topics = ()  # calls whose result is safe for topics
    checks: Topics = ()  # calls that test their receiver or arguments in a condition
    validators: Topics = ()  # calls that raise for bad arguments
    lookups: tuple[str, ...] = ()
    """Calls whose result is not as foreign as their arguments: a record that was found by a name."""
    builders: tuple[str, ...] = ()  # calls that put text together
    constants: tuple[str, ...] = ()  # names of fixed values
    collectors: tuple[str, ...] = ()  # methods that add their arguments to the receiver
    routes: tuple[str, ...] = ()  # decorators and annotations of functions that serve requests
    route_parameters: tuple[str, ...] = ()  # annotations of parameters that come from a request
    safe_types: tuple[str, ...] = ()  # types that hold no text
    trusted_types: tuple[str, ...] = ()  # types of parameters that the program passes itself
    trusted: tuple[str, ...] = ()  # names below a source that the program sets itself
    cli: tuple[str, ...] = ()  # functions whose parameters come from the command line
    pure: tuple[str, ...] = ()  # calls whose result is constant if their arguments are
    _known: dict[str, Value | None] = field(default_factory=dict, init=False, compare=False, repr=False)
    _clean: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict, init=False, compare=False, repr=False)

    @staticmethod
    def of(document: dict[str, Any]) -> Knowledge:
        """Knowledge from the section ``knowledge`` of a rule file."""

        def topics(name: str) -> Topics:
            return tuple((tuple(one["names"]), frozenset(one["topics"])) for one in document.get(name, ()))

        names = {
            name: tuple(document.get(name, ()))
            for name in ("lookups", "builders", "constants", "collectors", "routes", "route_parameters", "safe_types",
                         "trusted_types", "cli", "pure", "trusted")
        }  # fmt: skip
        return Knowledge(topics("sources"), topics("cleaners"), topics("checks"), topics("validators"), **names)

    def source(self, name: str) -> Value | None:
        """The value of a name that is read from outside or fixed by a library; None for other names."""
        if name in self._known:
            return self._known[name]
        found = self._source(name)
        _keep(self._known, name, found)
        return found

    def _source(self, name: str) -> Value | None:
        labels = _topics(self.sources, (name,))
        if labels:
            return Value(Level.SOURCE, labels=labels, origin=name)
        if matches(self.trusted, (name,)):
            return Value(origin=name)
        return Value(Level.CONSTANT, text=name, origin=name) if matches(self.constants, (name,)) else None

    def is_route(self, function: Node) -> bool:
        """Whether a function serves requests, by its decorators or annotations."""
        marks = [mark.name if mark.kind is Kind.CALL else dotted(mark) for mark in function.marks]
        return matches(self.routes, marks)

    def parameter(self, function: Node, parameter: Node, *, routed: bool) -> Value:
        """The value of a parameter before anybody has looked at it."""
        if parameter.name in ("self", "cls") or matches(self.trusted_types, (parameter.type,)):
            return Value(type=parameter.type, text=parameter.name)
        if parameter.type.endswith(("Exception", "Throwable")):
            return Value(labels=frozenset({"exception"}), type=parameter.type, text=parameter.name)
        marks = [mark.name for mark in parameter.marks]
        routed = routed or matches(self.route_parameters, marks)
        level, labels = (Level.SOURCE, frozenset({"request"})) if routed else (Level.PARAMETER, frozenset[str]())
        if function.name in self.cli:
            level, labels = Level.SOURCE, frozenset({"cli"})
        clean = frozenset({EVERY}) if parameter.type in self.safe_types else frozenset[str]()
        return Value(level, labels=labels, clean=clean, type=parameter.type, text=parameter.name)

    def collects(self, method: str) -> bool:
        return method in self.collectors

    def check_topics(self, names: Iterable[str]) -> frozenset[str]:
        return _topics(self.checks, names)

    def validator_topics(self, names: Iterable[str]) -> frozenset[str]:
        return _topics(self.validators, names)

    def cleans(self, names: Iterable[str]) -> frozenset[str]:
        """Topics that the result of a call, or an attribute, is safe for."""
        given = tuple(names)
        found = self._clean.get(given)
        if found is None:
            found = _topics(self.cleaners, given)
            _keep(self._clean, given, found)
        return found

    def result(self, names: tuple[str, ...], receiver: Value | None, args: list[Value]) -> Value:
        """The value of a call."""
        if receiver is None or receiver.level is not Level.SOURCE:
            for name in names:
                if found := self.source(name + "()"):
                    return found.checked(self.cleans(names))
        if matches(self.lookups, names):
            return Value()
        if receiver is not None and receiver.level is Level.CONSTANT and last(names[0]) in ("get", "getOrDefault"):
            return joined([receiver, *args[1:]])  # an entry of a fixed mapping, or the default
        pure = matches(self.pure, names)
        given = [*([receiver] if receiver is not None and not pure else []), *args]
        value = joined(given) if given else Value()
        if value.level is Level.CONSTANT and receiver is None and not pure:
            value = replace(value, level=Level.LOCAL)
        if matches(self.builders, names):
            given = [*([receiver] if receiver is not None and not _is_module(receiver) else []), *args]
            inner = any(one.level > Level.CONSTANT for one in given[1:])
            prefix = given[0].constant if given and isinstance(given[0].constant, str) else ""
            value = replace(value, built=value.built or inner, prefix=prefix.partition("{")[0])
        return value.checked(self.cleans(names))


def _keep(cache: dict[Key, Kept], key: Key, value: Kept) -> None:
    """Adds to a cache that texts of strangers fill: it is emptied when it is full."""
    if len(cache) >= MOST_KEPT:
        cache.clear()
    cache[key] = value


def _is_module(receiver: Value) -> bool:
    """Whether a receiver is only where a function is found, such as ``os.path`` or ``Paths``."""
    return bool(receiver.text) and receiver.origin == receiver.text


def _topics(known: Topics, names: Iterable[str]) -> frozenset[str]:
    given = tuple(names)
    return frozenset().union(*(topics for patterns, topics in known if matches(patterns, given)))
